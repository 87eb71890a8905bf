"""Evidence and a language model's likelihood in one score, and the Chooser that settings name."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Literal

from fdvs.answers.choice.background import Background
from fdvs.answers.choice.by_evidence import MAX_EVIDENCE, EvidenceChooser, nearest, stand_alone
from fdvs.answers.choice.by_likelihood import LlmChooser
from fdvs.answers.choice.chooser import (
    Choice,
    Chooser,
    best_place,
    check_asked,
    in_text_order,
    put_back,
)
from fdvs.answers.evidence import Evidence
from fdvs.answers.question import Question
from fdvs.errors import InvalidValue
from fdvs.protocols import PrefillLanguageModel, TextEmbedder

Answerer = Literal["evidence", "llm", "combined"]


class CombinedChooser:
    """A Chooser that adds the likelihood, weighted, to the score of the evidence.

    Short options have too few tokens for their likelihood to say much, and made the evidence's
    scores worse (docs/decisions/012-answers.md): they are left to the evidence.
    """

    backend = "combined"

    def __init__(self, evidence: EvidenceChooser, llm: LlmChooser) -> None:
        self._evidence = evidence
        self._llm = llm

    def choose(self, question: Question, evidence: Evidence) -> Choice:
        """Return the chosen option with the scores of all. Raises as `LlmChooser.choose`."""
        check_asked(question, evidence)
        if not stand_alone(question.options, self._evidence.settings):
            return replace(self._evidence.choose(question, evidence), backend=self.backend)
        began = time.monotonic()
        in_order, order = in_text_order(question)
        found = self._evidence.scores(in_order, evidence)
        likely = self._llm.scores(in_order, evidence)
        weight = self._evidence.settings.llm_weight
        scores = put_back(found.total + weight * likely.scores, order)
        chosen = best_place(scores, question.options)
        return Choice(
            scores=scores,
            chosen=chosen,
            evidence=nearest(found.near[order.index(chosen)], evidence, MAX_EVIDENCE),
            backend=self.backend,
            parts={
                **{name: put_back(part, order) for name, part in found.parts.items()},
                "llm": put_back(likely.scores, order),
                "with_evidence": put_back(likely.with_evidence, order),
                "blind": put_back(likely.blind, order),
                "tokens": put_back(likely.counts, order),
            },
            num_prompt_tokens=likely.num_prompt_tokens,
            num_background=self._evidence.num_background(evidence),
            seconds=time.monotonic() - began,
        )


def make_chooser(
    answerer: Answerer,
    embedder: TextEmbedder,
    reader: PrefillLanguageModel | None = None,
    *,
    background: Background | None = None,
) -> Chooser:
    """Return the Chooser of a name. Raises InvalidValue where it needs a reader and has none."""
    if answerer == "evidence":
        return EvidenceChooser(embedder, background=background)
    if reader is None:
        raise InvalidValue("ask.answerer", answerer, "evidence, where there is no language model")
    llm = LlmChooser(reader, embedder)
    if answerer == "llm":
        return llm
    return CombinedChooser(EvidenceChooser(embedder, background=background), llm)

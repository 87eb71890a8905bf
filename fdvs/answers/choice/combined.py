"""Evidence and a language model's likelihood in one score, and the Chooser that settings name."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from fdvs.answers.choice.background import Background
from fdvs.answers.choice.by_evidence import MAX_EVIDENCE, EvidenceChooser, nearest, stand_alone
from fdvs.answers.choice.by_likelihood import LlmChooser
from fdvs.answers.choice.chooser import Choice, Chooser
from fdvs.answers.choice.options import best_place, check_asked, put_back, text_order
from fdvs.answers.evidence import Material
from fdvs.errors import InvalidValue
from fdvs.protocols import PrefillLanguageModel, TextEmbedder

Answerer = Literal["evidence", "llm", "combined"]


class CombinedChooser:
    """A Chooser that adds the likelihood, weighted, to the score of the evidence.

    Options of a few words have too few tokens for their likelihood to tell, and took from the
    evidence what it knew (docs/decisions/012-answers.md): they are left to the evidence.
    """

    backend = "combined"

    def __init__(self, evidence: EvidenceChooser, llm: LlmChooser) -> None:
        self._evidence = evidence
        self._llm = llm

    def choose(self, question: str, options: Sequence[str], material: Material) -> Choice:
        """Return the chosen option with the scores of all. Raises as `LlmChooser.choose`."""
        check_asked(options, material)
        if not stand_alone(options, self._evidence.settings):
            return replace(self._evidence.choose(question, options, material), backend=self.backend)
        began = time.monotonic()
        order = text_order(options)
        sorted_options = [options[place] for place in order]
        found = self._evidence.judge(question, sorted_options, material)
        likely = self._llm.judge(question, sorted_options, material)
        weight = self._evidence.settings.llm_weight
        scores = put_back(found.total + weight * likely.scores, order)
        chosen = best_place(scores, options)
        return Choice(
            scores=scores,
            chosen=chosen,
            evidence=nearest(found.near[order.index(chosen)], material, MAX_EVIDENCE),
            backend=self.backend,
            parts={
                **{name: put_back(part, order) for name, part in found.parts.items()},
                "llm": put_back(likely.scores, order),
                "with_evidence": put_back(likely.with_evidence, order),
                "blind": put_back(likely.blind, order),
                "tokens": put_back(likely.counts, order),
            },
            num_prompt_tokens=likely.num_prompt_tokens,
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

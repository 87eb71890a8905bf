"""Evidence and a language model's likelihood in one score, and the Chooser that settings name."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from fdvs.answers.choice.background import Background
from fdvs.answers.choice.by_evidence import EvidenceChooser, stand_alone
from fdvs.answers.choice.by_likelihood import LlmChooser
from fdvs.answers.choice.chooser import Chooser, Scores, ScoringChooser
from fdvs.answers.evidence import Evidence
from fdvs.answers.question import Question
from fdvs.errors import InvalidValue
from fdvs.protocols import PrefillLanguageModel, TextEmbedder

Answerer = Literal["evidence", "llm", "combined"]


class CombinedChooser(ScoringChooser):
    """A Chooser that adds the likelihood, weighted, to the score of the evidence.

    Short options have too few tokens for their likelihood to say much, and made the evidence's
    scores worse (docs/decisions/012-answers.md): they are left to the evidence.
    """

    backend = "combined"

    def __init__(self, evidence: EvidenceChooser, llm: LlmChooser) -> None:
        self._evidence = evidence
        self._llm = llm

    def scores(self, question: Question, evidence: Evidence) -> Scores:
        """Score options, which come in text order. Raises as `LlmChooser.scores`."""
        found = self._evidence.scores(question, evidence)
        if not stand_alone(question.options, self._evidence.settings):
            return found
        likely = self._llm.scores(question, evidence)
        return replace(
            found,
            total=found.total + self._evidence.settings.llm_weight * likely.total,
            parts={**found.parts, "llm": likely.total, **likely.parts},
            num_prompt_tokens=likely.num_prompt_tokens,
        )


def make_chooser(
    answerer: Answerer,
    embedder: TextEmbedder,
    language_model: PrefillLanguageModel | None = None,
    *,
    background: Background | None = None,
) -> Chooser:
    """Return the Chooser of a name.

    Raises InvalidValue where it needs a language model and there is none that can prefill.
    """
    if answerer == "evidence":
        return EvidenceChooser(embedder, background=background)
    if language_model is None:
        raise InvalidValue("ask.answerer", answerer, "evidence, where there is no language model")
    llm = LlmChooser(language_model, embedder)
    if answerer == "llm":
        return llm
    return CombinedChooser(EvidenceChooser(embedder, background=background), llm)

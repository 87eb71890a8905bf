"""Score options by how likely a language model finds each as the answer, given evidence.

The evidence stands in time order, the question last; every option is scored in one reading. An
option that is likely in itself is not an answer, so a share of its likelihood without evidence is
subtracted. A longer option is not worse for its length: what its tokens would have at the mean rate
of all the options' tokens is subtracted, so that options whose tokens are equally likely are equal.

    gain(o)  = log p(o | evidence, question) - blind_share log p(o | question)
    score(o) = gain(o) - n(o) sum of gain / sum of n        n: number of tokens
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fdvs.answers.choice.chooser import ChoiceSettings, Scores, ScoringChooser
from fdvs.answers.evidence import Evidence, Passage
from fdvs.answers.question import Question
from fdvs.prompting.fence import neutral
from fdvs.protocols import OptionScore, PrefillLanguageModel, ReadPrompt, TextEmbedder
from fdvs.vectors import Doubles, unit_rows

SYSTEM = "You answer questions about a video from the descriptions of its moments."
EVIDENCE_HEAD = "Moments of the video, in time order:"
BLIND_TEXT = "A question about a video.\n"
EVIDENCE_CHARS = 1000
TOO_ALIKE = 0.9  # cosine to a passage that is there already


class LlmChooser(ScoringChooser):
    """A Chooser by likelihood. The prompt without evidence is prefilled once for all questions."""

    backend = "llm"

    def __init__(
        self,
        language_model: PrefillLanguageModel,
        embedder: TextEmbedder,
        *,
        settings: ChoiceSettings | None = None,
        evidence_chars: int = EVIDENCE_CHARS,
    ) -> None:
        self.settings = settings or ChoiceSettings()
        self._language_model = language_model
        self._embedder = embedder
        self._evidence_chars = evidence_chars
        self._blind: ReadPrompt | None = None

    def scores(self, question: Question, evidence: Evidence) -> Scores:
        """Score options, which come in text order, from at least one passage.

        The parts are log probabilities, summed over an option's `tokens`: `with_evidence`, and
        `blind` without. Raises ModelError where the prompt does not fit the model's context.
        """
        passages = gather(question, evidence, self._embedder, chars=self._evidence_chars)
        lines = [f"- {neutral(passage.text)}" for passage in passages]
        prompt = "\n".join([EVIDENCE_HEAD, *lines]) + "\n"
        read = self._language_model.read(SYSTEM, prompt)
        rest = f"\nQuestion: {_with_mark(neutral(question.text))}"
        options = [neutral(option) or option for option in question.options]
        seen = read.score(rest, options)
        seen_N, blind_N = _sums(seen), _sums(self._read_blind().score(rest, options))
        counts_N = np.array([score.num_tokens for score in seen], dtype=np.float64)
        gain_N = seen_N - self.settings.blind_share * blind_N
        return Scores(
            total=gain_N - counts_N * gain_N.sum() / counts_N.sum(),
            parts={"with_evidence": seen_N, "blind": blind_N, "tokens": counts_N},
            passages=[passages] * len(options),
            num_prompt_tokens=read.num_tokens + int(counts_N.sum()),
        )

    def _read_blind(self) -> ReadPrompt:
        if self._blind is None:
            self._blind = self._language_model.read(SYSTEM, BLIND_TEXT)
        return self._blind


def _with_mark(question: str) -> str:
    return question if question.endswith(("?", ".", "!")) else f"{question}?"


def _sums(scores: Sequence[OptionScore]) -> Doubles:
    return np.array([score.log_prob for score in scores], dtype=np.float64)


def gather(
    question: Question, evidence: Evidence, embedder: TextEmbedder, *, chars: int
) -> tuple[Passage, ...]:
    """Return passages for a prompt in time order, up to about `chars`, no option favoured.

    In rounds, the question and every statement of an option give their nearest passage that is
    not there yet and not much like one that is there. Every round is finished, so that no
    option gets fewer.
    """
    rows_SD = unit_rows(embedder.embed_texts([*question.statements, question.text]))
    rows_PD = unit_rows(evidence.vectors)
    ranked_SP = np.argsort(-(rows_SD @ rows_PD.T).round(9), axis=1, kind="stable")
    taken: list[int] = []
    num_chars = 0
    for places_S in ranked_SP.T:
        if num_chars >= chars:
            break
        for place in places_S.tolist():
            if not taken or float((rows_PD[taken] @ rows_PD[place]).max()) < TOO_ALIKE:
                taken.append(place)
                num_chars += len(evidence.passages[place].text)
    return tuple(evidence.passages[place] for place in sorted(taken))

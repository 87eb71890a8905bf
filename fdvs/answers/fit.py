"""Answerability: do the passages match a question better than generic text does?

Being near is not enough: "a man in a room" is near to everything. So a question, as a statement,
is compared with the nearest passages and with sentences about everyday scenes (everyday.txt), and
what the passages are nearer counts. More passages come nearer by chance alone, which is taken off
as a share of the logarithm of their number. With options, the nearest statement with an option
counts, and the share of its content words that any passage holds; everyday sentences then count
in full, since a statement with an option names more.

    fit(s) = mean of the 3 nearest passages - EVERYDAY_SHARE mean of the 10 nearest everyday ones
             - PASSAGES ln(number of passages)        [+ WORDS share, with options]

The weights and the bounds `ask.min_fit`, `ask.min_choice_fit` were chosen on half of the videos
of a benchmark and measured on the other half: docs/decisions/013, research/eval_evidence.py. They
hold for the embedder all-MiniLM-L6-v2 and for these everyday sentences, which were written for
this purpose.
"""

from __future__ import annotations

import math
import unicodedata
from importlib.resources import files

import numpy as np

from fdvs.answers.evidence import Evidence
from fdvs.answers.question import Question
from fdvs.answers.support import share
from fdvs.protocols import TextEmbedder
from fdvs.story.sentence_vectors import terms_of
from fdvs.text.stop_words import WORDS as STOP_WORDS_OF
from fdvs.text.stop_words import language_of
from fdvs.text.vocabulary import same_words, stems
from fdvs.vectors import Doubles, unit_rows

NUM_NEAREST, NUM_EVERYDAY = 3, 10
EVERYDAY_SHARE, EVERYDAY_SHARE_CHOICE = 0.7, 1.0
PASSAGES, WORDS = 0.04, 0.1
GENERIC_FIT = 1.0  # of a question that names nothing, which every video answers
# In languages other than English, whose sentences small embedders put close together, a chapter
# must hold this share of the question's content words instead.
MIN_FOREIGN_WORDS = 0.3
# Stems of such questions: "what happens at the end?", "where was it taken?"
_GENERIC = frozenset(
    """
happen video film clip scene stori end begin start describ summar summari tell see seen show shown
go do first last final thing take taken place locat record occur
""".split()
)


def everyday_sentences() -> tuple[str, ...]:
    """Return the generic sentences that questions are compared with."""
    text = files("fdvs.answers").joinpath("everyday.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


class Answerability:
    """Measures how well questions fit their evidence.

    Keep one as long as the embedder: the everyday sentences are embedded once, at the first
    question that needs them.
    """

    def __init__(self, embedder: TextEmbedder) -> None:
        self._embedder = embedder
        self._everyday_ED: Doubles | None = None

    def fit(
        self, question: Question, evidence: Evidence, embedder: TextEmbedder | None = None
    ) -> float:
        """Return the fit of a question, with options that of the nearest one.

        Args:
            evidence: with at least one passage.
            embedder: embeds the question; by default the one of the everyday sentences.
        """
        embedder = embedder or self._embedder
        if question.options:
            return self._choice_fit(question, evidence, embedder)
        is_whole = question.reach.kind in ("whole", "topics")
        if is_whole or not frozenset(stems([question.search_text])[0]) - _GENERIC:
            return GENERIC_FIT
        (score,) = self._scores(question, evidence, embedder, EVERYDAY_SHARE)
        num_passages = evidence.num_in_scope or len(evidence.passages)
        return round(float(score) - PASSAGES * math.log(num_passages), 6)

    def _choice_fit(self, question: Question, evidence: Evidence, embedder: TextEmbedder) -> float:
        scores_N = self._scores(question, evidence, embedder, EVERYDAY_SHARE_CHOICE)
        best = question.options[int(np.argmax(scores_N))]
        known = frozenset().union(*evidence.stems)
        words = share(frozenset(stems([f"{question.text} {best}"])[0]), known)
        by_chance = PASSAGES * math.log(len(evidence.passages))
        return round(float(max(scores_N)) - by_chance + WORDS * words, 6)

    def _scores(
        self, question: Question, evidence: Evidence, embedder: TextEmbedder, everyday_share: float
    ) -> Doubles:
        """Return what each statement is nearer to the passages than to everyday sentences."""
        if self._everyday_ED is None:
            self._everyday_ED = unit_rows(self._embedder.embed_texts(everyday_sentences()))
        rows_ND = unit_rows(embedder.embed_texts(question.fit_statements))
        near_N = mean_of_largest(rows_ND @ unit_rows(evidence.vectors).T, NUM_NEAREST)
        everyday_N = mean_of_largest(rows_ND @ self._everyday_ED.T, NUM_EVERYDAY)
        scores_N: Doubles = near_N - everyday_share * everyday_N
        return scores_N


def foreign_words(question: Question, evidence: Evidence) -> float | None:
    """Return the largest share of the question's content words in a chapter, by their beginnings.

    None for a question in English, and one whose language is none of those with stop words.
    """
    language = _language_of(question, evidence)
    if language in ("en", ""):
        return None
    sample = " ".join(STOP_WORDS_OF[language])  # so that the stop words of this language go
    words = {_plain(term) for term in terms_of([question.search_text, sample])[0]}
    if not words:
        return 1.0
    chapters: dict[tuple[str, int], str] = {}
    for passage in evidence.passages:
        key = (passage.video_id, passage.chapter)
        chapters[key] = f"{chapters.get(key, '')} {_plain(passage.text)}"
    held = (sum(word in text for word in words) / len(words) for text in chapters.values())
    return max(held, default=0.0)


def _language_of(question: Question, evidence: Evidence) -> str:
    """Return a question's language; of those it may be in, that of the passages."""
    words = same_words(question.text).split()
    counts = {name: sum(word in known for word in words) for name, known in STOP_WORDS_OF.items()}
    most = max(counts.values())
    around = language_of(passage.text for passage in evidence.passages)
    if most and counts.get(around) == most:
        return around
    return language_of([question.text])


def _plain(text: str) -> str:
    """Return a text without case and accents."""
    parts = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in parts if not unicodedata.combining(char))


def mean_of_largest(scores_NP: Doubles, num: int) -> Doubles:
    """Return the mean of each row's `num` largest."""
    ordered_NP: Doubles = np.sort(scores_NP, axis=1)[:, ::-1]
    means_N: Doubles = ordered_NP[:, :num].mean(axis=1)
    return means_N

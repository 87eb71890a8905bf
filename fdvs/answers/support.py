"""How well chapters support a sentence: by meaning and by words.

A sentence is compared with every passage of every chapter (cosine of embeddings), and its content
words are looked up in the chapter (share found, by stems). Neither is enough alone: two sentences
about cars are near in meaning whatever their colour, and common words are found anywhere. The
support is the mean of the two; a chapter supports a sentence from `ask.min_support` on, which was
measured in docs/decisions/013. Knows nothing of who wrote the sentence, and judges neither truth
nor negation: "no car is seen" is near to a car.

S sentences, C chapters, P passages, D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np

from fdvs.answers.evidence import Evidence
from fdvs.protocols import TextEmbedder
from fdvs.text.vocabulary import stems
from fdvs.vectors import Doubles, unit_rows

ChapterKey = tuple[str, int]  # video_id, clip index
SHORT_WORDS = 2  # an answer of so few content words means nothing without its question
DECIMALS = 6
# Stems of how a sentence speaks of a video or agrees ("yes"): its chapters need not hold them.
FRAMING = frozenset(
    """
video clip scene moment film stori footag shown show seen see visibl appear pictur imag perhap
depict evid ye
""".split()
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Support:
    """Scores of S sentences against C chapters, each [S, C] and 0 to 1, and the chapters."""

    chapters: tuple[ChapterKey, ...]
    meaning: Doubles
    words: Doubles

    @property
    def both(self) -> Doubles:
        return np.round((self.meaning + self.words) / 2, DECIMALS)


def chapter_support(
    sentences: Sequence[str], evidence: Evidence, embedder: TextEmbedder, *, question: str = ""
) -> Support:
    """Return how well each chapter of the evidence supports each sentence.

    A short sentence ("Red.") is compared by meaning together with the question; its words must
    be found alone. A sentence without content words takes those of the question.
    """
    keys = list(dict.fromkeys((p.video_id, p.chapter) for p in evidence.passages))
    places = {key: place for place, key in enumerate(keys)}
    owner_P = np.array([places[p.video_id, p.chapter] for p in evidence.passages], dtype=np.int64)
    *own, asked = (frozenset(words) - FRAMING for words in stems([*sentences, question]))
    shape = (len(sentences), len(keys))
    meaning_SC, words_SC = np.zeros(shape), np.zeros(shape)
    if not (sentences and keys):
        return Support(chapters=tuple(keys), meaning=meaning_SC, words=words_SC)
    compared = [
        f"{question} {text}" if len(words) <= SHORT_WORDS else text
        for text, words in zip(sentences, own, strict=True)
    ]
    rows_SD = unit_rows(embedder.embed_texts(compared))
    cosines_SP = rows_SD @ unit_rows(evidence.vectors).T
    for place in range(len(keys)):
        meaning_SC[:, place] = np.clip(cosines_SP[:, owner_P == place].max(axis=1), 0, 1)
    held: list[set[str]] = [set() for _ in keys]
    for words, place in zip(evidence.stems, owner_P, strict=True):
        held[place].update(words)
    for row, words in enumerate(own):
        words_SC[row] = [share(words or asked, of_chapter) for of_chapter in held]
    return Support(chapters=tuple(keys), meaning=meaning_SC, words=words_SC)


def share(words: Set[str], among: Set[str]) -> float:
    """Return the share of `words` that are `among` others; 0 of none."""
    return len(words & among) / len(words) if words else 0.0

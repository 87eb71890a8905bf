"""Which sentences tell the answer: how well each passage answers a question.

Nearness alone prefers sentences that repeat the question; people look for the words of the question
together with the thing that it asks for. So a passage scores

    cosine + WORDS share of the question's content words + KIND where it holds what is asked for
    + PART inside the part of the time that is named - APART for remarks, questions and headings

where rare words weigh more, and words that only the heading above or the rest of the chapter holds
count less. What is written on screen and seen comes after what is said. A sentence after a question
that is nearly the asked one answers it: speakers like to ask themselves. The weights were chosen on
one made lecture and tried on others (docs/decisions/020).

P passages.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fdvs.answers.evidence import Evidence, Passage
from fdvs.answers.expects import expected, holds
from fdvs.answers.question import Question
from fdvs.protocols import TextEmbedder
from fdvs.story.candidates import is_remark
from fdvs.story.chapters import ON_SCREEN, PICTURES
from fdvs.story.sentence_vectors import terms_of
from fdvs.text.vocabulary import same_words
from fdvs.vectors import Doubles, unit_rows

WORDS, KIND, PART, APART = 0.3, 0.12, 0.15, 0.3
HEADING_WORDS, CHAPTER_WORDS = 0.5, 0.3  # what a word counts that only these hold
SHORT_WORDS = 3  # a passage of fewer words names a matter and tells nothing of it
AFTER_A_QUESTION = 0.9  # of a question's score goes to the sentence after it

InPart = Callable[[Passage], bool]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Telling:
    """Scores [P] of passages, the question's words in each, and what each of its words weighs.

    The weights add up to 1.
    """

    scores: Doubles
    held: tuple[frozenset[str], ...]
    weights: Mapping[str, float]

    def gain(self, place: int, known: Iterable[int]) -> float:
        """Return the share of the question's words that a passage adds to those of others."""
        held = self.held[place].difference(*(self.held[one] for one in known))
        return sum(self.weights[word] for word in held)


def how_telling(
    question: Question,
    evidence: Evidence,
    embedder: TextEmbedder,
    in_part: InPart | None = None,
) -> Telling:
    """Return how well each passage of the evidence answers a question.

    Args:
        in_part: says whether a passage lies in the part of the time that the question names.
    """
    passages = evidence.passages
    asked_D = unit_rows(embedder.embed_texts([question.search_text]))[0]
    words_P, held, weights = question_words(question.search_text, passages)
    kind = expected(question.text)
    scores_P = np.round(unit_rows(evidence.vectors) @ asked_D, 6) + WORDS * words_P
    for place, passage in enumerate(passages):
        scores_P[place] += KIND * bool(kind and holds(kind, passage.text))
        scores_P[place] += PART * bool(in_part and in_part(passage))
    raw_P = scores_P.copy()
    apart_P = np.array([_stands_apart(passage) for passage in passages], dtype=float)
    scores_P -= APART * apart_P
    for place in range(1, len(passages)):
        is_asked = _is_question(passages[place - 1].text) and _follows(passages, place)
        if is_asked and not apart_P[place]:
            scores_P[place] = max(scores_P[place], AFTER_A_QUESTION * raw_P[place - 1])
    return Telling(scores=np.round(scores_P, 6), held=held, weights=weights)


def question_words(
    text: str, passages: Sequence[Passage]
) -> tuple[Doubles, tuple[frozenset[str], ...], dict[str, float]]:
    """Return which content words of a text each passage holds.

    A word in n of P passages weighs ln(1 + (P + 0.5) / (n + 0.5)), as a share of all of them.

    Returns:
        the weight [P] of the words of each passage, those of its heading counted by a share; the
        words that each passage holds itself; the weights of all.
    """
    headings = list(dict.fromkeys(passage.heading for passage in passages))
    texts = [text, *headings, *(passage.text for passage in passages)]
    asked, *found = map(frozenset, terms_of(texts))
    of_heading = dict(zip(headings, found, strict=False))
    own = found[len(headings) :]
    counts = Counter(term for terms in own for term in terms)
    weight = {w: math.log1p((len(passages) + 0.5) / (counts[w] + 0.5)) for w in asked}
    total = sum(weight.values())
    weight = {word: one / total for word, one in weight.items()}
    held = tuple(asked & terms for terms in own)
    of_chapter: dict[tuple[str, int], set[str]] = {}
    for passage, terms in zip(passages, held, strict=True):
        of_chapter.setdefault((passage.video_id, passage.chapter), set()).update(terms)
    shares = []
    for passage, holding in zip(passages, held, strict=True):
        above = (asked & of_heading[passage.heading]) - holding
        around = of_chapter[passage.video_id, passage.chapter] - holding - above
        parts = ((1.0, holding), (HEADING_WORDS, above), (CHAPTER_WORDS, around))
        shares.append(sum(share * weight[w] for share, words in parts for w in words))
    return np.array(shares), held, weight


def _stands_apart(passage: Passage) -> float:
    """Return how little a passage says by itself, 0 for a sentence that tells something."""
    if passage.text.startswith((PICTURES, ON_SCREEN)):
        return 0.8
    num_words = len(same_words(passage.text).split())
    is_short = passage.text.isascii() and num_words < SHORT_WORDS
    if passage.is_heading or is_short or _is_question(passage.text):
        return 3.0
    return 2.0 if is_remark(passage.text) else 0.0


def _is_question(text: str) -> bool:
    return text.rstrip('"”’»)').endswith(("?", "？"))


def _follows(passages: Sequence[Passage], place: int) -> bool:
    one, before = passages[place], passages[place - 1]
    return (one.video_id, one.chapter) == (before.video_id, before.chapter)

"""The question-only control of open-ended questions: answers without seeing any video.

A score that does not exceed it shows nothing about videos: answers are few and very unequal, and
many questions give their own answer away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fdvs.datasets.examples import OpenQuestion
from fdvs.errors import InvalidValue
from fdvs.fingerprint import digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NUM_NEAREST = 25  # best of 1 to 100 on the val split of ActivityNet-QA, half against half
ROWS_AT_ONCE = 500
# equal questions must tie whatever the order in which their words were added up
TIE_WIDTH = 1e-6


def question_only_answers(
    questions: Sequence[OpenQuestion],
    known: Sequence[OpenQuestion] | None = None,
    *,
    num_nearest: int = NUM_NEAREST,
) -> dict[str, str | None]:
    """Answer by a vote of the nearest known questions by TF-IDF, without any video.

    Each of the `num_nearest` known questions (and those equally near) votes for its answer with
    its cosine; ties, and questions that share no word with any, go to the answer that is most
    frequent among the known ones.

    Args:
        known: questions of another split. Without them the videos are divided in two by a hash
            of their id, and each half is answered from the other.

    Raises InvalidValue where a known question is about a video of the questions.
    """
    if num_nearest < 1:
        raise InvalidValue("num_nearest", num_nearest, "1 or more")
    if known is not None:
        return _by_vote(questions, known, num_nearest)
    halves: tuple[list[OpenQuestion], ...] = ([], [])
    for asked in questions:
        halves[int(digest(asked.video_id), 16) % 2].append(asked)
    found = _by_vote(halves[0], halves[1], num_nearest)
    found |= _by_vote(halves[1], halves[0], num_nearest)
    return {asked.id: found[asked.id] for asked in questions}


def _by_vote(
    questions: Sequence[OpenQuestion], known: Sequence[OpenQuestion], num_nearest: int
) -> dict[str, str | None]:
    shared = {q.video_id for q in questions} & {q.video_id for q in known}
    if shared:
        raise InvalidValue("a video of the known questions", min(shared), "none of those asked")
    if not known or not questions:
        return {asked.id: None for asked in questions}
    counts = Counter(asked.answer for asked in known)
    answers = sorted(counts, key=lambda answer: (-counts[answer], answer))
    column = {answer: place for place, answer in enumerate(answers)}
    columns = [column[asked.answer] for asked in known]
    rows, known_rows = _rows([q.question for q in questions], [q.question for q in known])
    found: dict[str, str | None] = {}
    for start in range(0, len(questions), ROWS_AT_ONCE):
        part = questions[start : start + ROWS_AT_ONCE]
        cosines = (rows[start : start + ROWS_AT_ONCE] @ known_rows.T).toarray()
        best = _winners(cosines, columns, len(answers), num_nearest)
        found |= {asked.id: answers[place] for asked, place in zip(part, best, strict=True)}
    return found


def _rows(texts: Sequence[str], known: Sequence[str]) -> tuple[Any, Any]:
    """Return TF-IDF rows of both, sparse; weights are those of the known texts."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    # no stop words: "what", "is" and "how many" say what kind of answer is wanted; single letters
    # and digits count too, so that no text is without a word
    vectorizer = TfidfVectorizer(
        sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"\w+", dtype=np.float32
    )
    known_rows = vectorizer.fit_transform([*known, "what"])[: len(known)]
    return vectorizer.transform(texts), known_rows


def _winners(
    cosines: NDArray[np.floating], columns: Sequence[int], num_answers: int, num_nearest: int
) -> list[int]:
    """Return the answer's place with most votes per row of cosines [Q, K]; first of equals."""
    import numpy as np
    from scipy.sparse import csr_array

    num_known = cosines.shape[1]
    last = num_known - min(num_nearest, num_known)
    bound = np.partition(cosines, last, axis=1)[:, [last]]
    # a cosine of 0 votes for nothing
    votes = np.where(cosines >= bound - TIE_WIDTH, cosines, 0.0)
    ones = np.ones(num_known, dtype=votes.dtype)
    chosen = csr_array((ones, (np.arange(num_known), columns)), shape=(num_known, num_answers))
    totals = (csr_array(votes) @ chosen).toarray()
    best = totals.max(axis=1, keepdims=True)
    winners: list[int] = (totals >= best - TIE_WIDTH).argmax(axis=1).tolist()
    return winners

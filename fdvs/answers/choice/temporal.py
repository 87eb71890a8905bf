"""Which passages stand where a question points: after, before or at an event, or at the end.

The event is found among the passages themselves: the moment most like the question's clause. A
passage's fit is between 0 and 1 and is added to its likeness with a small weight, so that time
decides between passages that are about equally near, and never against all of them.

P passages, D dimensions, M moments (the passages that share a start).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.answers.evidence import Passage
from fdvs.answers.question import Asked
from fdvs.vectors import Doubles


def time_fit(
    asked: Asked, passages: Sequence[Passage], near_anchor_P: NDArray[np.floating] | None
) -> Doubles:
    """Return how well each passage stands at the time that the question names. Shape [P].

    `near_anchor_P` is each passage's likeness to `asked.anchor`; None without an anchor. With a
    position and an event both count, and the sum is returned; zeros where the question names none.
    """
    shares_P = video_shares(passages)
    fit_P = _position_fit(asked, shares_P)
    if asked.relation and near_anchor_P is not None:
        fit_P = fit_P + _relation_fit(asked, passages, shares_P, near_anchor_P)
    return fit_P


def video_shares(passages: Sequence[Passage]) -> Doubles:
    """Return where each passage's middle lies in its own video, from 0 to 1. Shape [P]."""
    last: dict[str, float] = {}
    for passage in passages:
        last[passage.video_id] = max(last.get(passage.video_id, 0.0), passage.end_s)
    return np.array(
        [
            (p.start_s + p.end_s) / 2 / last[p.video_id] if last[p.video_id] else 0.0
            for p in passages
        ]
    )


def _position_fit(asked: Asked, shares_P: Doubles) -> Doubles:
    if asked.position == "end":
        return shares_P
    if asked.position == "start":
        return 1 - shares_P
    if asked.position == "middle":
        return 1 - 2 * np.abs(shares_P - 0.5)
    return np.zeros_like(shares_P)


def _relation_fit(
    asked: Asked,
    passages: Sequence[Passage],
    shares_P: Doubles,
    near_anchor_P: NDArray[np.floating],
) -> Doubles:
    """Passages of other videos than the anchor's get 0; the anchor's own moment only with `at`."""
    at = int(np.argmax(near_anchor_P))
    anchor = passages[at]
    is_there_P = np.array([p.video_id == anchor.video_id for p in passages])
    if asked.relation == "after":
        fits_P = np.array([p.start_s > anchor.start_s for p in passages], dtype=np.float64)
    elif asked.relation == "before":
        fits_P = np.array([p.start_s < anchor.start_s for p in passages], dtype=np.float64)
    else:
        fits_P = 1 - np.abs(shares_P - shares_P[at])
    return np.where(is_there_P, fits_P, 0.0)

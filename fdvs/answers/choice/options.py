"""Options in an order that their place does not decide, and the choice between their scores.

Everything is computed on options sorted by text and put back afterwards: the same options give
the same answer in any order, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.answers.evidence import Material
from fdvs.errors import InvalidValue, NotFound

DECIMALS = 9  # scores nearer than this are equal


def check_asked(options: Sequence[str], material: Material) -> None:
    """Raise InvalidValue for fewer than two options, NotFound where there is no passage."""
    if len(options) < 2:
        raise InvalidValue("options", len(options), "two or more")
    if not material.passages:
        raise NotFound("nothing is told about the video in question; build it first: fdvs build")


def text_order(options: Sequence[str]) -> list[int]:
    """Return the places of the options in the order of their texts."""
    return sorted(range(len(options)), key=lambda place: options[place])


def put_back(scores: NDArray[np.floating], order: Sequence[int]) -> tuple[float, ...]:
    """Return scores of options in text order as scores in the order they were given in."""
    placed = [0.0] * len(order)
    for score, place in zip(scores, order, strict=True):
        placed[place] = round(float(score), DECIMALS)
    return tuple(placed)


def best_place(scores: Sequence[float], options: Sequence[str]) -> int:
    """Return the place of the best score; of equals the option that comes first by its text."""
    return min(range(len(options)), key=lambda place: (-scores[place], options[place]))

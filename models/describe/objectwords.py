"""Detected boxes as one sentence: count, size, and position on a 3x3 grid. Knows no detector.

As in the paper (FDVS, arXiv 2412.06182, Sec. III-C), the grid is cut at 0.33 and 0.66 of the
picture's width and height, and the sizes at the same shares of its area.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LOW_CUT, HIGH_CUT = 0.33, 0.66
MAX_KINDS = 12
MAX_PLACES = 3
#: The 80 class names of COCO (Lin et al., 2014), the default classes of the object source.
COCO_NAMES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat"),
    *("traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat"),
    *("dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack"),
    *("umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball"),
    *("kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket"),
    *("bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair"),
    *("couch", "potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse"),
    *("remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier"),
    "toothbrush",
)
_ROWS = ("top", "middle", "bottom")
_COLUMNS = ("left", "center", "right")


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """One detection in one picture; corners as fractions of width and height, 0 to 1."""

    label: str
    score: float
    x0: float
    y0: float
    x1: float
    y1: float


def third(share: float) -> int:
    """Return 0, 1 or 2 for a fraction: below 0.33, below 0.66, or above."""
    return 0 if share < LOW_CUT else 1 if share < HIGH_CUT else 2


def grid_cell(center_x: float, center_y: float) -> str:
    """Return the grid cell of a box's centre: `top left` ... `center` ... `bottom right`."""
    row, column = _ROWS[third(center_y)], _COLUMNS[third(center_x)]
    if (row, column) == ("middle", "center"):
        return "center"
    return f"{row} {column}"


def size_word(area: float) -> str:
    """Return `small`, `medium` or `large` for a box's share of the picture's area."""
    return ("small", "medium", "large")[third(area)]


def match_label(phrase: str, labels: Sequence[str]) -> str | None:
    """Return the label that a detector's phrase stands for, or None.

    A detector returns the tokens that matched, which may be part of a label ("hydrant") or span
    two ("cat dog"). An exact match wins, then the longest label inside the phrase, then the first
    label that contains the phrase; only whole words match.
    """
    words = _words(phrase)
    if not words:
        return None
    exact = [label for label in labels if _words(label) == words]
    inside = [label for label in labels if _contains(words, _words(label))]
    around = [label for label in labels if _contains(_words(label), words)]
    longest = sorted(inside, key=lambda label: -len(_words(label)))
    return next(iter([*exact, *longest, *around]), None)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _contains(outer: list[str], inner: list[str]) -> bool:
    width = len(inner)
    return any(outer[at : at + width] == inner for at in range(len(outer) - width + 1))


def sentence(pictures: Iterable[Sequence[Box]]) -> str:
    """Return one sentence for a clip, "" without a box.

    Each label is described on the picture with most boxes of it (ties: the first): a sum over
    pictures would count one dog eight times. Labels are ordered by count, then by score.
    """
    best: dict[str, list[Box]] = {}
    for boxes in pictures:
        counts = Counter(box.label for box in boxes)
        for label, count in counts.items():
            if count > len(best.get(label, ())):
                best[label] = [box for box in boxes if box.label == label]
    ranked = sorted(best, key=lambda label: (-len(best[label]), -_top(best[label]), label))
    parts = [_phrase(label, best[label]) for label in ranked[:MAX_KINDS]]
    return f"{', '.join(parts)}." if parts else ""


def _top(boxes: Sequence[Box]) -> float:
    return max(box.score for box in boxes)


def _phrase(label: str, boxes: Sequence[Box]) -> str:
    """Return e.g. `2 x dog (small, top left; large, center)`: a count avoids plural forms."""
    ranked = sorted(boxes, key=lambda box: (-box.score, box.x0, box.y0))[:MAX_PLACES]
    places = dict.fromkeys(_place(box) for box in ranked)
    count = f"{len(boxes)} x " if len(boxes) > 1 else ""
    return f"{count}{label} ({'; '.join(places)})"


def _place(box: Box) -> str:
    area = max(0.0, box.x1 - box.x0) * max(0.0, box.y1 - box.y0)
    return f"{size_word(area)}, {grid_cell((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)}"

"""Scenes of a story: runs of consecutive chapters about one subject, by text tiling.

After Hearst (TextTiling, 1997): at each gap between chapters, the similarity of what lies before
and after it, and how deep it dips below the peaks on both sides (the depth score). Unusually deep
dips are good boundaries. The boundaries are chosen together: the set with the greatest sum of
depth above the cutoff among all that keep every scene short enough.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fdvs.types import Vectors
from fdvs.vectors import Doubles, unit_rows

# chapters compared on each side of a gap
WINDOW = 3
# a shallower dip is noise, even if the similarity is constant elsewhere
MIN_DEPTH = 0.1
# depths are compared as whole numbers of 1e-4, so that float noise cannot move a boundary
_STEPS = 10_000
# from so many headings on, they divide a video; of more than MAX_HEADINGS several make a scene
MIN_HEADINGS, MAX_HEADINGS = 3, 12
# how much the chapters below one heading are taken as one
POOLED = 0.5

Steps = NDArray[np.int64]


def scene_ranges(
    vectors: Vectors,
    *,
    max_chapters: int,
    titles: Sequence[str] = (),
    window: int = WINDOW,
    min_depth: float = MIN_DEPTH,
) -> list[range]:
    """Return consecutive ranges that cover 0 ... N exactly once; none for no chapters.

    No range is longer than `max_chapters`. Of equally good divisions the one with the longest last
    scenes wins.

    Args:
        vectors: chapter embeddings [N, D] in time order.
        max_chapters: most chapters of a scene, at least 1.
        titles: the headings of the chapters [N], "" for none. Where most chapters have one, scenes
            begin only where a heading does; else rather there.
        window: chapters compared on each side of a gap.
        min_depth: least depth of a boundary that the bounds do not force.

    Cost: O(N (D + max_chapters)). Raises BadModelOutput where a value is not finite.
    """
    if max_chapters < 1:
        raise ValueError(f"max_chapters is {max_chapters}; need at least 1")
    if not len(vectors):
        return []
    groups = headed_groups(titles)
    if len(groups) >= MIN_HEADINGS:
        return _of_headings(vectors, groups, max_chapters)
    gains = boundary_gains(pooled(vectors, titles), window=window, min_depth=min_depth)
    return best_division(gains, max_chapters)


def joined(ranges: Sequence[range], empty: Sequence[bool], *, max_chapters: int) -> list[range]:
    """Return ranges without those of `empty` chapters [N] alone, which join a neighbour.

    A range stays where the two together would be longer than `max_chapters`.
    """
    result: list[range] = []
    for here in ranges:
        last = result[-1] if result else range(0)
        is_empty = any(all(empty[r.start : r.stop]) for r in (here, last) if r)
        if result and is_empty and here.stop - last.start <= max_chapters:
            result[-1] = range(last.start, here.stop)
        else:
            result.append(here)
    return result


def headed_groups(titles: Sequence[str]) -> list[range]:
    """Return runs of chapters below one heading; none where fewer than half have a heading.

    A chapter without a heading belongs to the one before it.
    """
    num_headed = sum(map(bool, titles))
    if not num_headed or 2 * num_headed < len(titles):
        return []
    starts, current = [0], titles[0]
    for place, title in enumerate(titles):
        if title and title != current and (current or place):
            starts.append(place)
        current = title or current
    return [range(a, b) for a, b in zip(starts, [*starts[1:], len(titles)], strict=True)]


def _of_headings(vectors: Vectors, groups: Sequence[range], max_chapters: int) -> list[range]:
    """Return scenes that begin where headings do: one each, or, of many, what belongs together.

    What stands below one heading is divided only where it is longer than a scene may be.
    """
    found = list(groups)
    if len(groups) > MAX_HEADINGS:
        rows = unit_rows(vectors)
        means = np.stack([rows[g.start : g.stop].mean(axis=0) for g in groups]).astype(np.float32)
        together = scene_ranges(means, max_chapters=max_chapters)
        found = [range(groups[r.start].start, groups[r.stop - 1].stop) for r in together]
    parts: list[range] = []
    for one in found:
        if len(one) <= max_chapters:
            parts.append(one)
            continue
        inside = scene_ranges(vectors[one.start : one.stop], max_chapters=max_chapters)
        parts += [range(one.start + r.start, one.start + r.stop) for r in inside]
    return parts


def pooled(vectors: Vectors, titles: Sequence[str]) -> Vectors:
    """Return vectors [N, D] drawn towards the mean of the chapters below the same heading.

    A chapter without a heading belongs to the one before it. Unchanged where all are alike.
    """
    if len(set(filter(None, titles))) < 2:
        return vectors
    rows = unit_rows(vectors)
    starts, current = [0], titles[0]
    for place, title in enumerate(titles):
        if title and current and title != current:
            starts.append(place)
        current = title or current
    for start, end in zip(starts, [*starts[1:], len(rows)], strict=True):
        rows[start:end] += POOLED / (1 - POOLED) * rows[start:end].mean(axis=0)
    return rows.astype(np.float32)


def gap_similarities(vectors: Vectors, *, window: int) -> Doubles:
    """Return [N - 1]: the cosine of the means of up to `window` chapters before and after."""
    rows_ND = unit_rows(vectors)
    num_rows = len(rows_ND)
    sums_ND = np.concatenate([np.zeros((1, rows_ND.shape[1])), np.cumsum(rows_ND, axis=0)])
    gap = np.arange(1, num_rows)
    before = unit_rows(sums_ND[gap] - sums_ND[np.maximum(gap - window, 0)])
    after = unit_rows(sums_ND[np.minimum(gap + window, num_rows)] - sums_ND[gap])
    cosines: Doubles = np.einsum("nd,nd->n", before, after)
    return cosines


def depth_scores(similarities: Doubles) -> Doubles:
    """Return how far each similarity lies below the nearest peaks on both sides, summed."""
    left = _peaks(similarities)
    right = _peaks(similarities[::-1])[::-1]
    depths: Doubles = left + right - 2 * similarities
    return depths


def _peaks(values: Doubles) -> Doubles:
    """Return, for each place, the top of the slope that rises from it to the left."""
    peaks = values.copy()
    for place in range(1, len(values)):
        if values[place - 1] >= values[place]:
            peaks[place] = peaks[place - 1]
    return peaks


def boundary_gains(vectors: Vectors, *, window: int, min_depth: float) -> Steps:
    """Return [N - 1]: the depth of each gap above the cutoff, in whole steps.

    The cutoff is Hearst's mean - std / 2 of all depths, but at least `min_depth`. A gap on the
    slope of a dip gains less than any gap at the bottom of one: it becomes a boundary only where
    `max_chapters` forces one.
    """
    similarities = np.rint(gap_similarities(vectors, window=window) * _STEPS) / _STEPS
    depths = depth_scores(similarities)
    if not len(depths):
        return np.zeros(0, dtype=np.int64)
    cutoff = max(float(depths.mean() - depths.std() / 2), min_depth)
    penalties = np.where(_is_bottom(similarities), cutoff, cutoff + depths.max())
    gains: Steps = np.rint((depths - penalties) * _STEPS).astype(np.int64)
    return gains


def _is_bottom(values: Doubles) -> NDArray[np.bool_]:
    """Return where values are lower than their neighbours; of equal ones the first."""
    lower_than_before = np.concatenate([[True], values[1:] < values[:-1]])
    bottoms = np.zeros(len(values), dtype=np.bool_)
    rises = True  # beyond the end
    for place in range(len(values) - 1, -1, -1):
        if place + 1 < len(values) and values[place + 1] != values[place]:
            rises = bool(values[place + 1] > values[place])
        bottoms[place] = rises and lower_than_before[place]
    return bottoms


def best_division(gains: Steps, max_chapters: int) -> list[range]:
    """Return the division with the greatest sum of gains, by dynamic programming over its end.

    `gains` [N - 1] is what a boundary at each gap is worth.
    """
    num_chapters = len(gains) + 1
    best, begin = [0], [0]  # of the chapters before each end: the greatest sum, the last start
    for end in range(1, num_chapters + 1):
        starts = range(max(0, end - max_chapters), end)
        totals = [best[start] + (int(gains[start - 1]) if start else 0) for start in starts]
        best.append(max(totals))
        begin.append(starts[totals.index(best[end])])
    ranges, end = [], num_chapters
    while end:
        ranges.append(range(begin[end], end))
        end = begin[end]
    return ranges[::-1]

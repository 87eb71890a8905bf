"""Find moments and videos that answer a query.

Results are ordered by the fused rank of meaning and words (see `fdvs.ranking`). The score shown
is always a cosine, so that one number means one thing: a moment found by its words alone shows
its cosine too, however low.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.config import SearchConfig
from fdvs.errors import InvalidValue
from fdvs.index import Entry, Index
from fdvs.protocols import TextEmbedder
from fdvs.ranking import Match, find_matches, fuse
from fdvs.types import Moment, VideoHit

NEAR_BEST = 0.8  # a neighbour joins a moment when it matches at least this share as well


def search_moments(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    video_id: str | None = None,
    num: int | None = None,
) -> list[Moment]:
    """Return stretches of videos that answer a query, best first.

    Chapters are searched; neighbours that match nearly as well become one moment, with the text
    of the best. Ties go by video name, then time.

    Args:
        video_id: only this video.
        num: how many at most; None takes the config's.

    Raises InvalidValue for a query without visible text and for `num` below 1.
    """
    limit = _limit(num, config)
    matches = ranked_matches(index, query, embedder, config, video_id=video_id)
    return merge_neighbours(index.entries, matches)[:limit]


def ranked_matches(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    video_id: str | None = None,
) -> list[Match]:
    """Return the chapters that match, best first; ties in the index's order."""
    matches = find_matches(index, query, embedder, config, level="chapter", video_id=video_id)
    fused = fuse([(m.meaning, m.words) for m in matches], word_weight=config.word_weight)
    order = sorted(range(len(matches)), key=lambda i: (-fused[i], i))
    return [matches[i] for i in order]


def merge_neighbours(entries: Sequence[Entry], ranked: Sequence[Match]) -> list[Moment]:
    """Return moments, best first: from the best chapter on, each grows over its neighbours.

    A neighbour is the chapter of the clip just before or after, in the same video. It joins
    where it matches and its cosine is at least `NEAR_BEST` of the first's, or where both hold
    all words of the query. Every chapter is in one moment.
    """
    free = {(entries[m.place].video_id, entries[m.place].item): m for m in ranked}
    moments = []
    for seed in ranked:
        entry = entries[seed.place]
        if free.pop((entry.video_id, entry.item), None) is None:
            continue
        group = {entry.item: seed}
        for step in (-1, 1):
            item = entry.item + step
            while _joins(free.get((entry.video_id, item)), seed):
                group[item] = free.pop((entry.video_id, item))
                item += step
        moments.append(_moment(entries, seed, [group[item] for item in sorted(group)]))
    return moments


def _joins(neighbour: Match | None, seed: Match) -> bool:
    if neighbour is None:
        return False
    if neighbour.holds_all and seed.holds_all:
        return True
    return neighbour.by_meaning and neighbour.cosine >= NEAR_BEST * seed.cosine


def _moment(entries: Sequence[Entry], seed: Match, group: Sequence[Match]) -> Moment:
    """Return a moment of matches in time order."""
    best = entries[seed.place]
    ways = {way for match in group for way in match.matched_by}
    return Moment(
        video_id=best.video_id,
        name=best.name,
        start_s=entries[group[0].place].start_s,
        end_s=entries[group[-1].place].end_s,
        score=max(match.cosine for match in group),
        text=best.text,
        clips=tuple(entries[match.place].item for match in group),
        matched_by=tuple(way for way in ("meaning", "words") if way in ways),
    )


def search_videos(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    num: int | None = None,
) -> list[VideoHit]:
    """Return videos, best first; a video's score is the best of its texts.

    The paper (arXiv 2412.06182) takes the maximum over the story and all chapters; scenes are a
    level that it does not have, and count too. A video's words score is that of its best text,
    and the two rankings of videos are fused as those of moments. Ties go by video name.
    """
    limit = _limit(num, config)
    groups: dict[str, list[Match]] = {}
    for match in find_matches(index, query, embedder, config):
        groups.setdefault(index.entries[match.place].video_id, []).append(match)
    scores = [(_best([m.meaning for m in g]), _best([m.words for m in g])) for g in groups.values()]
    fused = fuse(scores, word_weight=config.word_weight)
    hits = [(rank, _video_hit(index, g)) for rank, g in zip(fused, groups.values(), strict=True)]
    hits.sort(key=lambda pair: (-pair[0], pair[1].name))
    return [hit for _, hit in hits[:limit]]


def _best(scores: Sequence[float | None]) -> float | None:
    return max((score for score in scores if score is not None), default=None)


def _video_hit(index: Index, group: Sequence[Match]) -> VideoHit:
    """Return the hit for one video: its text of the highest cosine, the shortest of equals."""
    best = max(group, key=lambda m: (m.by_meaning, m.cosine, -m.place))
    entry = index.entries[best.place]
    return VideoHit(
        video_id=entry.video_id,
        name=entry.name,
        score=best.cosine,
        level=entry.level,
        text=entry.text,
        start_s=entry.start_s,
        end_s=entry.end_s,
    )


def _limit(num: int | None, config: SearchConfig) -> int:
    if num is None:
        return config.num_results
    if num < 1:
        raise InvalidValue("num", num, "1 or more")
    return num

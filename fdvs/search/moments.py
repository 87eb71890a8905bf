"""Find moments and videos that match a query.

Results are ordered by meaning, words and pictures together (see `fdvs.search.ranking`). The score
shown is always the cosine of texts, so that it means one thing: also for a moment found by its
words or pictures alone, however low. The cosine of its pictures is a separate number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fdvs.config import SearchConfig
from fdvs.errors import InvalidValue
from fdvs.protocols import TextEmbedder
from fdvs.search.index import Entry, Index
from fdvs.search.pictures import PictureSearch
from fdvs.search.ranking import WAYS, Match, add_words, find_matches, order_scores
from fdvs.text.clean import clean_query
from fdvs.types import Level, Moment, Vectors, VideoHit

CHAPTER_SHARE = 0.35  # weight of a video's best chapter beside its story
# A neighbour joins a moment if its cosine is at least this share of the best one's. Cosines of
# pictures lie close together: with a smaller share a whole film would become one moment.
NEAR_BEST = 0.8
NEAR_PICTURE = 0.95


def search_moments(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    video_id: str | None = None,
    num: int | None = None,
    pictures: PictureSearch | None = None,
) -> list[Moment]:
    """Return moments of videos that match a query, best first.

    Chapters are searched; neighbours that match nearly as well become one moment, with the text
    of the best. Ties are ordered by video name, then time.

    Args:
        video_id: only this video.
        num: at most this many; None takes the config's.
        pictures: the library's visual search; None leaves pictures out.

    Raises InvalidValue for a query without visible text and for `num` below 1.
    """
    limit = _limit(num, config)
    matches = ranked_matches(index, query, embedder, config, video_id=video_id, pictures=pictures)
    return merge_neighbours(index.entries, matches)[:limit]


def ranked_matches(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    video_id: str | None = None,
    pictures: PictureSearch | None = None,
) -> list[Match]:
    """Return the chapters that match, best first; ties in the index's order."""
    matches = find_matches(
        index,
        query,
        embedder,
        config,
        level="chapter",
        video_id=video_id,
        pictures=pictures,
    )
    scored = add_words([m.cosine for m in matches], [m.words for m in matches], config.word_weight)
    texts = [score if m.by_text else None for m, score in zip(matches, scored, strict=True)]
    fused = order_scores(texts, [m.picture for m in matches], config.picture_weight)
    order = sorted(range(len(matches)), key=lambda i: (-fused[i], i))
    return [matches[i] for i in order]


def merge_neighbours(entries: Sequence[Entry], ranked: Sequence[Match]) -> list[Moment]:
    """Return moments, best first: from the best chapter on, each takes in its neighbours.

    A neighbour is the chapter of the clip just before or after, in the same video. It joins if
    both hold all words of the query; else, if both match by pictures, when its picture matches
    nearly as well; else when its text does. Every chapter is in one moment.
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
    if neighbour.picture is not None and seed.picture is not None:
        return neighbour.picture >= NEAR_PICTURE * seed.picture
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
        matched_by=tuple(way for way in WAYS if way in ways),
        picture_score=_best(m.picture for m in group),
    )


def search_videos(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    num: int | None = None,
    pictures: PictureSearch | None = None,
) -> list[VideoHit]:
    """Return videos, best first; the score shown is the cosine of the best of a video's texts.

    They are ordered by the story's cosine plus a share of the best chapter's, and words: this
    finds more than the paper's maximum over story and chapters (arXiv 2412.06182; see
    docs/decisions/014-retrieval.md). Words and pictures are those of the video's best text and
    clip, fused as for moments. Ties are ordered by name.
    """
    limit = _limit(num, config)
    vector = embedder.embed_texts([clean_query(query)])[0]
    groups: dict[str, list[Match]] = {}
    for match in find_matches(index, query, embedder, config, pictures=pictures, vector=vector):
        groups.setdefault(index.entries[match.place].video_id, []).append(match)
    meaning = _video_meaning(index, vector) if groups else {}
    words = [_best(m.words for m in group) for group in groups.values()]
    scored = add_words([meaning.get(one, 0.0) for one in groups], words, config.word_weight)
    texts = [
        score if any(m.by_text for m in group) else None
        for score, group in zip(scored, groups.values(), strict=True)
    ]
    seen = [_best(m.picture for m in group) for group in groups.values()]
    fused = order_scores(texts, seen, config.picture_weight)
    hits = [(rank, _video_hit(index, g)) for rank, g in zip(fused, groups.values(), strict=True)]
    hits.sort(key=lambda pair: (-pair[0], pair[1].name))
    return [hit for _, hit in hits[:limit]]


def _video_meaning(index: Index, vector: Vectors) -> dict[str, float]:
    """Return for each video the cosine of its story plus a share of its best chapter's.

    A level that has no vector yet is taken to be as good as the other.
    """
    best: dict[str, dict[Level, float]] = {}
    for level in ("story", "chapter"):
        for place, cosine in index.similar(
            vector, min_score=-1.0, level=level, video_id=None
        ).items():
            levels = best.setdefault(index.entries[place].video_id, {})
            levels[level] = max(cosine, levels.get(level, -1.0))
    found = {}
    for video_id, levels in best.items():
        story = levels.get("story", levels.get("chapter", 0.0))
        found[video_id] = story + CHAPTER_SHARE * levels.get("chapter", story)
    return found


def _best(scores: Iterable[float | None]) -> float | None:
    return max((score for score in scores if score is not None), default=None)


def _video_hit(index: Index, group: Sequence[Match]) -> VideoHit:
    """Return the hit of one video: its best text, which of equals comes first in the index."""
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

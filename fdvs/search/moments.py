"""Find moments and videos that answer a query.

Results are ordered by meaning, words and looks together (see `fdvs.search.ranking`). The score
shown is always the cosine of texts, so that one number means one thing: a moment found by its
words or its looks alone shows it too, however low; the cosine of its pictures stands apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from fdvs.config import SearchConfig
from fdvs.errors import InvalidValue
from fdvs.protocols import TextEmbedder
from fdvs.search.index import Entry, Index
from fdvs.search.pictures import Pictures
from fdvs.search.ranking import WAYS, Match, add_words, find_matches, order_scores
from fdvs.text.clean import clean_query
from fdvs.types import Level, Moment, Vectors, VideoHit

NEAR_LOOKS = (
    0.95  # cosines of pictures lie close together: without a share, films would be one moment
)
CHAPTER_SHARE = 0.35  # how much a video's best chapter counts beside its story
NEAR_BEST = 0.8  # a neighbour joins a moment when it matches at least this share as well


def search_moments(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    video_id: str | None = None,
    num: int | None = None,
    pictures: Pictures | None = None,
) -> list[Moment]:
    """Return stretches of videos that answer a query, best first.

    Chapters are searched; neighbours that match nearly as well become one moment, with the text
    of the best. Ties go by video name, then time.

    Args:
        video_id: only this video.
        num: how many at most; None takes the config's.
        pictures: the library's looks and what places a query among them; None leaves them out.

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
    pictures: Pictures | None = None,
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
    told = add_words([m.cosine for m in matches], [m.words for m in matches], config.word_weight)
    texts = [score if m.by_text else None for m, score in zip(matches, told, strict=True)]
    fused = order_scores(texts, [m.looks for m in matches], config.picture_weight)
    order = sorted(range(len(matches)), key=lambda i: (-fused[i], i))
    return [matches[i] for i in order]


def merge_neighbours(entries: Sequence[Entry], ranked: Sequence[Match]) -> list[Moment]:
    """Return moments, best first: from the best chapter on, each grows over its neighbours.

    A neighbour is the chapter of the clip just before or after, in the same video. It joins
    where it matches and its cosine is at least `NEAR_BEST` of the first's, or where both hold
    all words of the query, or both look like it nearly as much. Every chapter is in one moment.
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
    if neighbour.looks is not None and seed.looks is not None:
        return neighbour.looks >= NEAR_LOOKS * seed.looks
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
        picture_score=max((m.looks for m in group if m.looks is not None), default=None),
    )


def search_videos(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    num: int | None = None,
    pictures: Pictures | None = None,
) -> list[VideoHit]:
    """Return videos, best first; the score shown is the cosine of the best of a video's texts.

    They are ordered by the story's cosine plus a share of the best chapter's, and words: this
    finds more than the paper's maximum over story and chapters (arXiv 2412.06182; see
    docs/decisions/014-retrieval.md). A video's words and looks are those of its best text and clip;
    looks are fused as those of moments. Ties go by name.
    """
    limit = _limit(num, config)
    vector = embedder.embed_texts([clean_query(query)])[0]
    groups: dict[str, list[Match]] = {}
    for match in find_matches(index, query, embedder, config, pictures=pictures, vector=vector):
        groups.setdefault(index.entries[match.place].video_id, []).append(match)
    meaning = _video_meaning(index, vector) if groups else {}
    words = [_best(m.words for m in group) for group in groups.values()]
    told = add_words([meaning.get(one, 0.0) for one in groups], words, config.word_weight)
    texts = [
        score if any(m.by_text for m in group) else None
        for score, group in zip(told, groups.values(), strict=True)
    ]
    looks = [_best(m.looks for m in group) for group in groups.values()]
    fused = order_scores(texts, looks, config.picture_weight)
    hits = [(rank, _video_hit(index, g)) for rank, g in zip(fused, groups.values(), strict=True)]
    hits.sort(key=lambda pair: (-pair[0], pair[1].name))
    return [hit for _, hit in hits[:limit]]


def _video_meaning(index: Index, vector: Vectors) -> dict[str, float]:
    """Return for each video the cosine of its story and a share of its best chapter's.

    A level that has no vector yet counts as much as the other.
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

"""Find moments and videos that match a query.

Results are ordered by one number, their `relevance`: meaning, words and pictures together (see
`fdvs.search.ranking`). The `score` is always the cosine of texts, so that it means one thing: also
for a moment found by its words or pictures alone, however low. The cosine of its pictures is a
separate number.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from fdvs.config import SearchConfig
from fdvs.errors import InvalidValue
from fdvs.protocols import TextEmbedder
from fdvs.search.filters import Filters, SourceTexts, filtered
from fdvs.search.index import Entry, Index
from fdvs.search.pictures import PictureSearch
from fdvs.search.ranking import WAYS, Match, add_words, find_matches, rank, relevance
from fdvs.search.readable import has_meaning
from fdvs.text.clean import clean_query
from fdvs.types import Level, Moment, Vectors, VideoHit
from fdvs.vectors import embed_queries

CHAPTER_SHARE = 0.35  # weight of a video's best chapter beside its story
# A neighbour joins a moment if its cosine is at least this share of the best one's. Cosines of
# pictures lie close together: with a smaller share a whole film would become one moment.
NEAR_BEST = 0.8
NEAR_PICTURE = 0.95
NO_FILTERS = Filters()


def search_moments(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    filters: Filters = NO_FILTERS,
    num: int | None = None,
    offset: int = 0,
    nearest: bool = False,
    pictures: PictureSearch | None = None,
    texts_of: SourceTexts | None = None,
) -> list[Moment]:
    """Return moments of videos that match a query, most relevant first.

    Chapters are searched; neighbours that match nearly as well become one moment, with the text
    of the best. Ties are ordered by video name, then time, so that pages of results join without
    gaps.

    Args:
        filters: what the search is limited to.
        num: at most this many; None takes the config's.
        offset: how many of the best to leave out.
        nearest: rank what is below the bound, too, for a query that nothing fits well.
        pictures: the library's visual search; None leaves pictures out.
        texts_of: what each source says in a chapter; needed to filter by source.

    Raises InvalidValue for a query without visible text, for `num` below 1 and `offset` below 0.
    """
    first, stop = _page(num, offset, config)
    config = replace(config, min_score=-1.0) if nearest else _fitting(query, embedder, config)
    vector = embed_queries(embedder, [clean_query(query)])[0]
    matches = find_matches(
        index, query, embedder, config, level="chapter", video_id=filters.only_video,
        pictures=pictures, vector=vector,
    )  # fmt: skip
    kept = filtered(
        index, matches, filters, query=query, vector=vector, min_score=config.min_score,
        texts_of=texts_of,
    )  # fmt: skip
    return merge_neighbours(index.entries, rank(kept, config))[first:stop]


def moments_like(
    index: Index,
    matches: Sequence[Match],
    config: SearchConfig,
    *,
    num: int | None = None,
    offset: int = 0,
) -> list[Moment]:
    """Return moments of chapters that match an example picture (`fdvs.search.frames`), by falling
    relevance; neighbours that look nearly the same become one moment.

    `score` and `picture_score` are the cosine of the nearest frame.
    """
    first, stop = _page(num, offset, config)
    ranked = rank(matches, replace(config, picture_weight=1.0))
    found = merge_neighbours(index.entries, ranked)[first:stop]
    return [replace(one, score=one.picture_score or 0.0) for one in found]


def _fitting(query: str, embedder: TextEmbedder, config: SearchConfig) -> SearchConfig:
    """Return the settings for a query: without meaning and pictures where it has no meaning."""
    if config.min_score <= -1 or has_meaning(clean_query(query), embedder):
        return config
    return replace(config, word_weight=1.0, picture_weight=0.0)


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
    return rank(matches, config)


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
        relevance=seed.relevance,
    )


def search_videos(
    index: Index,
    query: str,
    embedder: TextEmbedder,
    config: SearchConfig,
    *,
    num: int | None = None,
    offset: int = 0,
    nearest: bool = False,
    pictures: PictureSearch | None = None,
) -> list[VideoHit]:
    """Return videos, most relevant first; the score is the cosine of the best of its texts.

    They are ordered by the story's cosine plus a share of the best chapter's, and words: this
    finds more than the paper's maximum over story and chapters (arXiv 2412.06182; see
    docs/decisions/014-retrieval.md). Words and pictures are those of the video's best text and
    clip, fused as for moments. Ties are ordered by name. Arguments as for `search_moments`.
    """
    first, stop = _page(num, offset, config)
    config = replace(config, min_score=-1.0) if nearest else _fitting(query, embedder, config)
    vector = embed_queries(embedder, [clean_query(query)])[0]
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
    ranks = relevance(texts, seen, config.picture_weight)
    hits = [_video_hit(index, g, rank) for rank, g in zip(ranks, groups.values(), strict=True)]
    hits.sort(key=lambda hit: (-hit.relevance, hit.name, hit.video_id))
    return hits[first:stop]


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


def _video_hit(index: Index, group: Sequence[Match], relevance: float) -> VideoHit:
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
        relevance=relevance,
    )


def _page(num: int | None, offset: int, config: SearchConfig) -> tuple[int, int]:
    """Return the places [first, stop) of a page of results."""
    if num is not None and num < 1:
        raise InvalidValue("num", num, "1 or more")
    if offset < 0:
        raise InvalidValue("offset", offset, "0 or more")
    return offset, offset + (config.num_results if num is None else num)

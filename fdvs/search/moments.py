"""Find moments and videos that match a query.

Results are ordered by one number, their `relevance`: meaning, words and pictures together (see
`fdvs.search.ranking`). The `score` is always the cosine of texts, so that it means one thing: also
for a moment found by its words or pictures alone, however low. The cosine of its pictures is a
separate number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fdvs.config import SearchConfig
from fdvs.errors import InvalidValue
from fdvs.protocols import TextEmbedder
from fdvs.search.columns import Places
from fdvs.search.filters import Filters, SourceTexts, filtered
from fdvs.search.index import Entry, Index
from fdvs.search.pictures import PictureSearch
from fdvs.search.ranking import WAYS, Match, Matches, add_words, find_matches, rank, relevance
from fdvs.search.readable import has_meaning
from fdvs.text.clean import clean_query
from fdvs.types import Moment, Vectors, VideoHit
from fdvs.vectors import Doubles, embed_queries

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
    first, stop = page(num, offset, config)
    config = replace(config, min_score=-1.0) if nearest else fitting(query, embedder, config)
    vector = embed_queries(embedder, [clean_query(query)])[0]
    matches = find_matches(
        index, query, embedder, config, level="chapter", video_id=filters.only_video,
        pictures=pictures, vector=vector,
    )  # fmt: skip
    kept = filtered(
        index, matches, filters, query=query, vector=vector, min_score=config.min_score,
        texts_of=texts_of,
    )  # fmt: skip
    return merge_neighbours(index.entries, rank(kept, config), num=stop)[first:]


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
    first, stop = page(num, offset, config)
    ranked = rank(matches, replace(config, picture_weight=1.0))
    found = merge_neighbours(index.entries, ranked, num=stop)[first:]
    return [replace(one, score=one.picture_score or 0.0) for one in found]


def fitting(query: str, embedder: TextEmbedder, config: SearchConfig) -> SearchConfig:
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
) -> Matches:
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


def merge_neighbours(
    entries: Sequence[Entry], ranked: Sequence[Match], *, num: int | None = None
) -> list[Moment]:
    """Return the first `num` moments, best first: from the best chapter on, each takes in its
    neighbours.

    A neighbour is the chapter of the clip just before or after, in the same video. It joins if
    both hold all words of the query; else, if both match by pictures, when its picture matches
    nearly as well; else when its text does. Every chapter is in one moment.
    """
    matches = Matches.of(ranked)
    taken: set[int] = set()
    moments: list[Moment] = []
    for seed in matches:
        if num is not None and len(moments) >= num:
            break
        if seed.place in taken:
            continue
        group = [seed]
        for step in (-1, 1):
            while (more := _neighbour(entries, matches, group[-1 if step > 0 else 0], step)) and (
                more.place not in taken and _joins(more, seed)
            ):
                group.insert(len(group) if step > 0 else 0, more)
        taken |= {match.place for match in group}
        moments.append(_moment(entries, seed, group))
    return moments


def _neighbour(entries: Sequence[Entry], matches: Matches, match: Match, step: int) -> Match | None:
    """Return the match of the clip just before or after, which stands beside it among entries."""
    place = match.place + step
    more = matches.at(place)
    if more is None or place < 0:
        return None
    one, other = entries[match.place], entries[place]
    return more if (other.video_id, other.item) == (one.video_id, one.item + step) else None


def _joins(neighbour: Match, seed: Match) -> bool:
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
        picture_score=max((m.picture for m in group if m.picture is not None), default=None),
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
    first, stop = page(num, offset, config)
    config = replace(config, min_score=-1.0) if nearest else fitting(query, embedder, config)
    vector = embed_queries(embedder, [clean_query(query)])[0]
    matches = find_matches(index, query, embedder, config, pictures=pictures, vector=vector)
    if not matches:
        return []
    videos, owner = np.unique(index.columns.videos[matches.places], return_inverse=True)
    meaning = _video_meaning(index, vector)[videos]
    scored = add_words(meaning, _best(matches.words, owner), config.word_weight)
    by_text = _best(np.where(matches.by_text, 1.0, np.nan), owner) == 1.0
    texts = np.where(by_text, scored, np.nan)
    ranks = relevance(texts, _best(matches.pictures, owner), config.picture_weight)
    hits = [
        _video_hit(index, matches.row(row), float(rank))
        for row, rank in zip(_best_rows(matches, owner), ranks, strict=True)
    ]
    hits.sort(key=lambda hit: (-hit.relevance, hit.name, hit.video_id))
    return hits[first:stop]


def _video_meaning(index: Index, vector: Vectors) -> Doubles:
    """Return for each video the cosine of its story plus a share of its best chapter's.

    A level that has no vector yet is taken to be as good as the other; 0 without both.
    """
    best = {}
    for level in ("story", "chapter"):
        places, cosines = index.near(vector, min_score=-1.0, level=level, video_id=None)
        best[level] = np.full(len(index.columns.video_ids), np.nan)
        np.fmax.at(best[level], index.columns.videos[places], cosines)
    story = np.where(np.isnan(best["story"]), best["chapter"], best["story"])
    chapter = np.where(np.isnan(best["chapter"]), best["story"], best["chapter"])
    return np.nan_to_num(story + CHAPTER_SHARE * chapter)


def _best(scores: Doubles, owner: Places) -> Doubles:
    """Return the best score of each owner, NaN where none of its scores is a number."""
    best = np.full(int(owner.max()) + 1, np.nan)
    np.fmax.at(best, owner, scores)
    return best


def _best_rows(matches: Matches, owner: Places) -> list[int]:
    """Return the row of each owner's best text, which of equals comes first in the index."""
    order = np.lexsort((matches.places, -matches.cosines, ~matches.by_meaning, owner))
    _, first = np.unique(owner[order], return_index=True)
    rows: list[int] = order[first].tolist()
    return rows


def _video_hit(index: Index, best: Match, relevance: float) -> VideoHit:
    """Return the hit of one video by its best text."""
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


def page(num: int | None, offset: int, config: SearchConfig) -> tuple[int, int]:
    """Return the places [first, stop) of a page of results."""
    if num is not None and num < 1:
        raise InvalidValue("num", num, "1 or more")
    if offset < 0:
        raise InvalidValue("offset", offset, "0 or more")
    return offset, offset + (config.num_results if num is None else num)

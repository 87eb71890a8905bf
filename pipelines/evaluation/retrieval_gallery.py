"""From a split and words about its videos to a gallery and its answerable queries.

A candidate is a video or, for the datasets of `CLIP_DATASETS`, the clip that a query is about.
Candidates without words cannot be found: they are left out and counted, and the name of the score
says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

from fdvs.datasets.examples import Caption, Query, Split
from fdvs.errors import DataError, NotFound
from fdvs.pipelines.evaluation.job import Texts
from fdvs.search.gallery import Described

CLIP_DATASETS = frozenset({"youcook2"})
HELD_OUT_FILES = {"activitynet_captions": "activitynet_oracle_2000.txt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A gallery and its queries: `right[i]` is the place of query i's candidate.

    `video_ids` are the candidates' videos; `num_official` counts candidates with and without words,
    `num_unanswerable` the queries whose candidate has none.
    """

    videos: tuple[Described, ...]
    video_ids: tuple[str, ...]
    queries: tuple[Query, ...]
    right: tuple[int, ...]
    num_official: int
    num_unanswerable: int

    @property
    def is_whole(self) -> bool:
        return len(self.videos) == self.num_official

    def only(self, video_ids: frozenset[str]) -> Task:
        """Return the task reduced to some videos: their candidates and queries."""
        kept = [place for place, one in enumerate(self.video_ids) if one in video_ids]
        moved = {place: new for new, place in enumerate(kept)}
        asked = [n for n, place in enumerate(self.right) if place in moved]
        return Task(
            videos=tuple(self.videos[place] for place in kept),
            video_ids=tuple(self.video_ids[place] for place in kept),
            queries=tuple(self.queries[n] for n in asked),
            right=tuple(moved[self.right[n]] for n in asked),
            num_official=len(kept),
            num_unanswerable=0,
        )


def task_of(split: Split, texts: Texts) -> Task:
    """Return gallery and queries. Raises NotFound where no query is about a video with words."""
    clips = split.dataset in CLIP_DATASETS
    offered = dict(_clips(split, texts) if clips else _videos(split, texts))
    described = {key: words for key, (_, words) in offered.items() if words is not None}
    place = {key: number for number, key in enumerate(described)}
    asked = [query for query in split.queries if (query.id if clips else query.video_id) in place]
    if not asked:
        raise NotFound(
            f"no query of {split.name} is about a video with words; the texts are of other videos"
        )
    return Task(
        videos=tuple(described.values()),
        video_ids=tuple(offered[key][0] for key in described),
        queries=tuple(asked),
        right=tuple(place[query.id if clips else query.video_id] for query in asked),
        num_official=len(offered),
        num_unanswerable=len(split.queries) - len(asked),
    )


def held_out_ids(dataset: str) -> frozenset[str]:
    """Return the ids of the held-out videos; empty where no setting was chosen on the dataset."""
    name = HELD_OUT_FILES.get(dataset)
    return frozenset() if name is None else frozenset(_listed(name))


def first_held_out(dataset: str, num: int) -> frozenset[str]:
    """Return the first held-out ids; the list is in hash order, so this is a random sample."""
    name = HELD_OUT_FILES.get(dataset)
    return frozenset() if name is None else frozenset(_listed(name)[:num])


def _listed(name: str) -> list[str]:
    lines = (files("fdvs.datasets") / "ids" / name).read_text("utf-8").split()
    if not lines or len(set(lines)) < len(lines):
        raise DataError(f"the list of ids {name} is empty or holds an id twice; install fdvs again")
    return lines


Offer = tuple[str, tuple[str, Described | None]]


def _videos(split: Split, texts: Texts) -> Iterator[Offer]:
    for video_id in split.video_ids:
        yield video_id, (video_id, _described(video_id, texts.captions.get(video_id, ())))


def _clips(split: Split, texts: Texts) -> Iterator[Offer]:
    for query in split.queries:
        captions = _within(query, texts.captions)
        yield query.id, (query.video_id, _described(query.id, captions))


def _within(query: Query, captions: Mapping[str, Sequence[Caption]]) -> list[Caption]:
    found = captions.get(query.video_id, ())
    if query.span is None:
        return list(found)
    start_s, end_s = query.span
    return [one for one in found if one.start_s < end_s and start_s < one.end_s]


def _described(key: str, captions: Sequence[Caption]) -> Described | None:
    texts = tuple(caption.text for caption in captions if caption.text)
    return Described(video_id=key, story=" ".join(texts), chapters=texts) if texts else None

"""Which observations of a clip read like orders to a model: tested before any model reads them.

An order may be spread over lines: a sentence of several subtitles, a notice of several lines on the
screen. So what belongs together is tested together, and marked together. What follows a marked line
that has not ended ("... and say:") is marked, too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Protocol

from fdvs.prompting.injection import has_prompt_injection
from fdvs.story.observations import SPOKEN, goes_on
from fdvs.text.sentences import finish
from fdvs.types import Observation

# what a model made of pictures from a fixed list of words cannot hold an order by its meaning
BY_WORDS_ONLY = frozenset({"tags", "motion", "objects", "action"})
MAX_TOGETHER = 4  # neighbouring lines that are tested as one text


class OrderTest(Protocol):
    """Tests texts by their meaning."""

    def are_orders(self, texts: Sequence[str]) -> list[bool]:
        """Return for each text whether it reads like an order."""
        ...


def split_suspects(
    arranged: Sequence[Observation], by_meaning: OrderTest | None = None
) -> tuple[tuple[Observation, ...], tuple[Observation, ...]]:
    """Return the observations that may be used, and those that read like orders, each in order.

    Args:
        arranged: see `fdvs.story.observations.arrange`.
        by_meaning: tests by meaning what the forms of orders did not find.
    """
    groups = [group for source in _sources(arranged) for group in _groups(arranged, source)]
    marked: set[int] = set()
    for group in groups:  # an order alone does not make its neighbours one
        is_new = arranged[group[0]].source in SPOKEN or not marked & set(group)
        if is_new and has_prompt_injection(_text(arranged, group)):
            marked.update(group)
    if by_meaning is not None:
        marked |= _by_meaning(arranged, groups, marked, by_meaning)
    for places in _by_source(arranged):
        for before, after in pairwise(places):
            if before in marked and not _has_ended(arranged[before].text):
                marked.add(after)
    kept = tuple(o for place, o in enumerate(arranged) if place not in marked)
    return kept, tuple(arranged[place] for place in sorted(marked))


def _sources(arranged: Sequence[Observation]) -> list[str]:
    return list(dict.fromkeys(o.source for o in arranged))


def _by_source(arranged: Sequence[Observation]) -> list[list[int]]:
    return [[i for i, o in enumerate(arranged) if o.source == s] for s in _sources(arranged)]


def _groups(arranged: Sequence[Observation], source: str) -> Iterator[tuple[int, ...]]:
    """Yield what is tested as one text, the smallest first: lines, sentences, neighbours."""
    places = [i for i, o in enumerate(arranged) if o.source == source]
    yield from ((place,) for place in places)
    if source in SPOKEN:
        runs = _runs(arranged, places)
        yield from (run for run in runs if len(run) > 1)
        return
    for size in range(2, min(MAX_TOGETHER, len(places)) + 1):
        yield from (tuple(places[i : i + size]) for i in range(len(places) - size + 1))


def _runs(arranged: Sequence[Observation], places: Sequence[int]) -> list[tuple[int, ...]]:
    """Return the lines of each passage that goes on from line to line."""
    runs: list[list[int]] = []
    text, end_s = "", 0.0
    for place in places:
        line = arranged[place]
        if runs and goes_on(text, line.start_s - end_s):
            runs[-1].append(place)
            text = f"{text} {line.text}"
        else:
            runs.append([place])
            text = line.text
        end_s = line.end_s
    return [tuple(run) for run in runs]


def _text(arranged: Sequence[Observation], group: Sequence[int]) -> str:
    return " ".join(arranged[place].text for place in group)


def _by_meaning(
    arranged: Sequence[Observation],
    groups: Sequence[tuple[int, ...]],
    marked: set[int],
    test: OrderTest,
) -> set[int]:
    tested = [
        group
        for group in groups
        if not marked & set(group) and arranged[group[0]].source not in BY_WORDS_ONLY
    ]
    are = test.are_orders([_text(arranged, group) for group in tested])
    return {p for group, is_order in zip(tested, are, strict=True) if is_order for p in group}


def _has_ended(text: str) -> bool:
    return finish(text).endswith(text[-1:]) and text[-1:] not in ":,;-–—“\"'("

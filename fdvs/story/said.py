"""What is said in a clip as whole sentences, each with the time when it is said.

Lines that do not end a sentence go on in the next one. A sentence begins and ends with its lines;
where it begins or ends inside of a line, the time between is shared out by letters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from fdvs.story.observations import SPOKEN, goes_on
from fdvs.text.sentences import finish, split_sentences
from fdvs.text.vocabulary import same_words
from fdvs.types import Observation

SHORTEST_S = 0.001


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A spoken or subtitled sentence, said in [start_s, end_s) of its video."""

    text: str
    start_s: float
    end_s: float


@dataclass(slots=True)
class _Passage:
    """Lines that belong together, and where each begins in their text."""

    text: str = ""
    lines: list[Observation] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, line: Observation) -> None:
        self.text = f"{self.text} {line.text}" if self.text else line.text
        self.places.append(len(self.text) - len(line.text))
        self.lines.append(line)

    def time_s(self, place: int, *, is_end: bool = False) -> float:
        """Return when the letter at a place is said; for an end, the one before it."""
        letter = place - 1 if is_end else place
        number = max((n for n, begin in enumerate(self.places) if begin <= letter), default=0)
        line, inside = self.lines[number], place - self.places[number]
        share = min(1.0, max(0.0, inside / len(line.text)))
        return round(line.start_s + share * (line.end_s - line.start_s), 3)


def said_sentences(arranged: Sequence[Observation]) -> list[Said]:
    """Return what is said as whole sentences in time order, each voice by itself.

    What a rolling caption repeats of the line before is left out.
    """
    return [
        sentence
        for source in SPOKEN
        for passage in _passages([o for o in arranged if o.source == source])
        for sentence in _sentences(passage)
    ]


def _sentences(passage: _Passage) -> Iterator[Said]:
    whole, place = finish(passage.text), 0
    for text in split_sentences(whole):
        begin = whole.index(text, place)
        place = begin + len(text)
        start_s = passage.time_s(begin)
        end_s = passage.time_s(min(place, len(passage.text)), is_end=True)
        yield Said(text=text, start_s=start_s, end_s=max(start_s + SHORTEST_S, end_s))


def _passages(lines: Sequence[Observation]) -> list[_Passage]:
    passages: list[_Passage] = []
    last: Observation | None = None
    for line in lines:
        if last is not None and _echoes(line.text, last.text):
            continue
        if last is None or not goes_on(passages[-1].text, line.start_s - last.end_s):
            passages.append(_Passage())
        passages[-1].add(line)
        last = line
    return passages


def _echoes(text: str, before: str) -> bool:
    words = same_words(text)
    return bool(words) and words in same_words(before)

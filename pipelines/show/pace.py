"""How far a build has come and how long it may still take, from its events and a clock.

Pure: events and times go in, lines come out. Time left is the work that is left at the pace that
this build has shown for each source, in seconds per second of film; what was not measured yet is
not guessed. Of files that were not opened yet only the sizes are known: they count as long as
opened files of that size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from fdvs.report import BuildEvent
from fdvs.text.plain import plain_line
from fdvs.text.timecode import end_code

# what was measured counts half as much after this time: a resumed build first flies over what is
# stored, and stretches of a film differ
HALF_LIFE_S = 60.0
# a pace is told after so much work
MIN_MEASURED_S, MIN_STEPS = 3.0, 2
MAX_NAME_CHARS = 40


@dataclass(slots=True)
class Cost:
    """Seconds of work on seconds of film, of one source.

    The first step holds what is done once, such as warming up and looking for voices in a whole
    track: it is forgotten as soon as there is a second one.
    """

    work_s: float = 0.0
    film_s: float = 0.0
    num_steps: int = 0

    @property
    def per_film_s(self) -> float:
        return self.work_s / self.film_s if self.film_s else 0.0

    def add(self, work_s: float, film_s: float) -> None:
        weight = 0.5 ** (work_s / HALF_LIFE_S) if self.num_steps != 1 else 0.0
        self.num_steps += 1
        self.work_s = self.work_s * weight + work_s
        self.film_s = self.film_s * weight + film_s


@dataclass(slots=True)
class Pace:
    """What the events so far say. `at_s` is how far each source has come in the file at work."""

    num_files: int = 0
    number: int = 0
    name: str = ""
    source: str = ""
    loading: list[str] = field(default_factory=list)
    length_s: float = 0.0
    size_bytes: int = 0
    at_s: dict[str, float] = field(default_factory=dict)
    costs: dict[str, Cost] = field(default_factory=dict)
    unopened_bytes: int = 0
    opened_bytes: int = 0
    opened_s: float = 0.0
    num_built: int = 0
    last_s: float = 0.0
    is_measured: bool = False

    def take(self, event: BuildEvent, now_s: float) -> None:
        """Take in an event that came at `now_s`."""
        if event.kind == "start":
            self.num_files, self.unopened_bytes = event.total, event.size_bytes
        elif event.kind == "loading":
            self.loading.append(event.text)
            self.is_measured = False
            return
        elif event.kind == "loaded":
            self.loading.remove(event.text)
        elif event.kind in ("track", "clip"):
            self._progress(event, now_s)
        elif event.kind == "video":
            self._open(event)
        elif event.kind in ("done_video", "failed"):
            self._close(event)
        self.last_s, self.is_measured = now_s, True

    def _open(self, event: BuildEvent) -> None:
        if event.number != self.number:
            self.at_s = {}
        self.number, self.name = event.number, event.name
        self.length_s, self.size_bytes, self.source = event.length_s, event.size_bytes, ""
        self.opened_s += event.length_s
        self.opened_bytes += event.size_bytes
        self.unopened_bytes -= event.size_bytes

    def _close(self, event: BuildEvent) -> None:
        if event.number == self.number:
            self.num_built += event.kind == "done_video"
        else:  # unchanged, or never opened
            self.unopened_bytes -= event.size_bytes
        self.number, self.source, self.at_s = 0, "", {}

    def _progress(self, event: BuildEvent, now_s: float) -> None:
        if event.number != self.number:  # heard ahead of the file that is committed
            self.number, self.name, self.at_s = event.number, event.name, {}
        self.length_s, self.source = event.length_s, event.text
        before_s = self.at_s.get(event.text, 0.0)
        self.at_s[event.text] = max(before_s, event.at_s)
        if self.is_measured and event.at_s > before_s:
            cost = self.costs.setdefault(event.text, Cost())
            cost.add(now_s - self.last_s, event.at_s - before_s)

    def stage_left_s(self) -> float | None:
        """Return the seconds that the source at work needs for the rest of the file."""
        cost = self.costs.get(self.source)
        if cost is None or cost.num_steps < MIN_STEPS or cost.work_s < MIN_MEASURED_S:
            return None
        return cost.per_film_s * max(0.0, self.length_s - self.at_s.get(self.source, 0.0))

    def all_left_s(self) -> float | None:
        """Return the seconds until the build's end; None before a file was built."""
        work_s = sum(cost.work_s for cost in self.costs.values())
        if not self.num_built or not self.opened_bytes or work_s < MIN_MEASURED_S:
            return None
        left_s = max(0, self.unopened_bytes) * self.opened_s / self.opened_bytes
        here_s = {
            source: max(0.0, self.length_s - self.at_s.get(source, 0.0)) if self.number else 0.0
            for source in self.costs
        }
        return sum(cost.per_film_s * (left_s + here_s[s]) for s, cost in self.costs.items())

    def line(self) -> str:
        """Return what is at work, how far it has come and how long it may take, as one line."""
        loading = [f"loading {plain_line(', '.join(self.loading))}"] if self.loading else []
        if not self.number:
            return "  ".join(
                ["looking at the next file" if self.num_files else "starting", *loading]
            )
        parts = [f"file {self.number} of {self.num_files}", self._short_name()]
        if self.source:
            at_s = min(self.at_s.get(self.source, 0.0), self.length_s)
            parts.append(f"{self.source} {end_code(at_s)} of {end_code(self.length_s)}")
        return "  ".join([*parts, *(loading or self._left())])

    def _short_name(self) -> str:
        """Return the name; of a long one the beginning and the end, which tell parts apart."""
        name = plain_line(self.name)
        if len(name) <= MAX_NAME_CHARS:
            return name
        half = (MAX_NAME_CHARS - 3) // 2
        return f"{name[:half]}...{name[-half:]}"

    def _left(self) -> list[str]:
        stage_s, all_s = self.stage_left_s(), self.all_left_s()
        left = [] if stage_s is None else [f"{about(stage_s)} left"]
        if all_s is not None and self.num_files > 1:
            left.append(f"(all: {about(all_s)})")
        return left


def about(seconds: float) -> str:
    """Return a time in words, no more exact than an estimate is.

    >>> about(3), about(47), about(200), about(5000)
    ('a few seconds', 'about 50 s', 'about 4 min', 'about 1 h 25 min')
    """
    seconds = round(seconds, 3)
    if seconds < 10:
        return "a few seconds"
    if seconds < 90:
        return f"about {math.ceil(seconds / 10) * 10} s"
    if seconds < 3570:
        return f"about {math.ceil(seconds / 60)} min"
    hours, minutes = divmod(math.ceil(seconds / 300) * 5, 60)
    return f"about {hours} h {minutes} min" if minutes else f"about {hours} h"

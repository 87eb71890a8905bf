"""The recipe of a film, its ground truth: shots, repeats, events, texts, speech and their times.

Lies as JSON beside the film and can be read without it. Times are seconds on the film's own grid of
pictures, spans half-open.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, get_args

from fdvs.errors import ConfigError
from fdvs.excerpts import shortened, shown
from fdvs.files import read_regular

VERSION = 1
MAX_BYTES = 1_000_000
MAX_ITEMS = 1000
MAX_CHARS = 200

Role = Literal["scene", "repeat", "event", "rest"]
KeyFrames = Literal["cuts", "fixed"]
FactKind = Literal["scene", "text", "speech"]
Span = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shot:
    """A stretch between two cuts; shots of one `scene` show the same thing.

    `role`: a scene's first shot, its repeat, an event cut into a scene, or the rest of a scene
    after the event. `clip` is the file that it is taken from, from `clip_start_s` on; without one
    the shot is drawn. `fade_s` is the length of the blend with the shot before, from `start_s` on;
    0 is a hard cut.
    """

    index: int
    scene: str
    role: Role
    start_s: float
    end_s: float
    moves: bool = True
    clip: str = ""
    clip_start_s: float = 0.0
    fade_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Words on screen or spoken; `is_banner` marks a text in the middle of a shot."""

    text: str
    start_s: float
    end_s: float
    is_banner: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """A scene, a text on screen or a spoken line of a film, with all its spans."""

    id: str
    kind: FactKind
    spans: tuple[Span, ...]

    def overlap_s(self, start_s: float, end_s: float) -> float:
        """Return for how many seconds of [start_s, end_s) the fact is present."""
        return sum(max(0.0, min(b, end_s) - max(a, start_s)) for a, b in self.spans)

    def is_at(self, time_s: float) -> bool:
        return any(a <= time_s < b for a, b in self.spans)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A film. `key_frames`: where the encoder puts keyframes, at cuts or at a fixed distance."""

    name: str
    seed: int
    width_px: int
    height_px: int
    fps: int
    key_frames: KeyFrames
    shots: tuple[Shot, ...]
    texts: tuple[Line, ...]
    speech: tuple[Line, ...] = ()

    @property
    def duration_s(self) -> float:
        return self.shots[-1].end_s

    @property
    def cuts_s(self) -> tuple[float, ...]:
        """Start of every shot but the first."""
        return tuple(shot.start_s for shot in self.shots[1:])

    @property
    def unknown_s(self) -> tuple[Span, ...]:
        """Stretches taken from real clips, which may hold cuts that the recipe does not know."""
        return tuple((shot.start_s, shot.end_s) for shot in self.shots if shot.clip)

    def repeats(self) -> dict[int, int]:
        """Return, by index, the first shot of the same scene for every shot that is not it."""
        first: dict[str, int] = {}
        for shot in self.shots:
            first.setdefault(shot.scene, shot.index)
        return {s.index: first[s.scene] for s in self.shots if first[s.scene] != s.index}

    def facts(self) -> tuple[Fact, ...]:
        """Return all scenes, texts and spoken lines, each once with all its spans."""
        scenes = _grouped((shot.scene, (shot.start_s, shot.end_s)) for shot in self.shots)
        texts = _grouped((line.text, (line.start_s, line.end_s)) for line in self.texts)
        speech = _grouped((line.text, (line.start_s, line.end_s)) for line in self.speech)
        return (
            *(Fact(id=f"scene:{k}", kind="scene", spans=v) for k, v in scenes.items()),
            *(Fact(id=f"text:{k}", kind="text", spans=v) for k, v in texts.items()),
            *(Fact(id=f"speech:{k}", kind="speech", spans=v) for k, v in speech.items()),
        )


def _grouped(pairs: Iterable[tuple[str, Span]]) -> dict[str, tuple[Span, ...]]:
    found: dict[str, tuple[Span, ...]] = {}
    for key, span in pairs:
        found[key] = (*found.get(key, ()), span)
    return found


def check_recipe(recipe: Recipe) -> Recipe:
    """Return the recipe. Raises ConfigError where its shots and times are inconsistent."""
    shots = recipe.shots
    if not shots or shots[0].start_s != 0:
        raise ConfigError(f"recipe {recipe.name!r} has no shot that starts at 0")
    for before, after in pairwise(shots):
        if before.end_s != after.start_s:
            raise ConfigError(
                f"recipe {recipe.name!r}: shot {before.index} ends at {before.end_s} s, the next "
                f"starts at {after.start_s} s; shots follow each other without a gap"
            )
    spans: list[Shot | Line] = [*shots, *recipe.texts, *recipe.speech]
    wrong = [s for s in spans if not 0 <= s.start_s < s.end_s <= recipe.duration_s]
    if wrong:
        raise ConfigError(
            f"recipe {recipe.name!r}: [{wrong[0].start_s}, {wrong[0].end_s}) is no stretch of a "
            f"film of {recipe.duration_s} s"
        )
    return recipe


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """Return plain JSON values, with derived ones (duration, cuts, repeats) for readers."""
    return {
        "version": VERSION,
        **asdict(recipe),
        "derived": {
            "duration_s": recipe.duration_s,
            "cuts_s": list(recipe.cuts_s),
            "repeats": {str(k): v for k, v in recipe.repeats().items()},
        },
    }


def recipe_from_json(values: Mapping[str, Any], where: str) -> Recipe:
    """Read a recipe back. Raises ConfigError, naming `where`, for anything else."""
    try:
        if values["version"] != VERSION:
            raise ConfigError(
                f"{where}: recipe version {shown(values['version'])}; this is version {VERSION}, "
                "make the films again"
            )
        recipe = Recipe(
            name=_text(values["name"]),
            seed=int(values["seed"]),
            width_px=int(values["width_px"]),
            height_px=int(values["height_px"]),
            fps=int(values["fps"]),
            key_frames=_one_of(values["key_frames"], get_args(KeyFrames)),
            shots=tuple(_shot(item, i) for i, item in enumerate(_items(values["shots"]))),
            texts=tuple(_line(item) for item in _items(values["texts"])),
            speech=tuple(_line(item) for item in _items(values["speech"])),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        reason = shortened(repr(error))
        raise ConfigError(f"{where} is no recipe of a film ({reason}); make it again") from None
    return check_recipe(recipe)


def _shot(values: Mapping[str, Any], index: int) -> Shot:
    return Shot(
        index=index,
        scene=_text(values["scene"]),
        role=_one_of(values["role"], get_args(Role)),
        start_s=float(values["start_s"]),
        end_s=float(values["end_s"]),
        moves=bool(values["moves"]),
        clip=_text(values["clip"]),
        clip_start_s=float(values["clip_start_s"]),
        fade_s=float(values["fade_s"]),
    )


def _line(values: Mapping[str, Any]) -> Line:
    return Line(
        text=_text(values["text"]),
        start_s=float(values["start_s"]),
        end_s=float(values["end_s"]),
        is_banner=bool(values["is_banner"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_CHARS:
        raise ValueError(f"need a text of at most {MAX_CHARS} characters")
    return value


def _one_of(value: object, allowed: Sequence[str]) -> Any:
    if value not in allowed:
        raise ValueError(f"{shown(value)} is none of {', '.join(allowed)}")
    return value


def _items(values: object) -> list[Any]:
    if not isinstance(values, list) or len(values) > MAX_ITEMS:
        raise ValueError(f"need a list of at most {MAX_ITEMS}")
    return values


def read_recipe(path: Path) -> Recipe:
    """Read the recipe beside a film. Raises ConfigError."""
    try:
        values = json.loads(read_regular(path, max_bytes=MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as a recipe ({error})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is no recipe of a film: need a JSON object")
    return recipe_from_json(values, str(path))

"""Plan a film: from a number to a recipe of scenes, repeats, an event, texts and speech.

The same seed and the same clips give the same recipe on every machine: choices come from Python's
own generator, whose sequence is fixed, and all times lie on the grid of pictures.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fdvs.datasets.synthetic.recipe import KeyFrames, Line, Recipe, Role, Shot, check_recipe
from fdvs.datasets.synthetic.words import BANNERS, SPOKEN, TITLES
from fdvs.errors import InvalidValue

WIDTH_PX, HEIGHT_PX, FPS = 320, 240, 10
SPEECH_LEAD_S = 0.6
#: Planned length of a spoken line; its true length is known once it is spoken.
SPEECH_S = 3.0
LATE_TITLE = 0.4
FADE_S = 0.6


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFile:
    """A film of the user's that shots are taken from; `name` is its file name."""

    name: str
    duration_s: float


@dataclass(slots=True, kw_only=True)
class _Draft:
    """A shot before its place in time is known."""

    scene: str
    role: Role
    num_frames: int
    title: str
    moves: bool
    clip: str = ""
    clip_start_s: float = 0.0


def make_recipe(
    number: int, *, seed: int, clips: Sequence[ClipFile] = (), short: bool = False
) -> Recipe:
    """Return the recipe of film `number` of the set `seed`.

    Every film has repeated scenes, a short event cut into a long scene, a banner in the middle of a
    shot, titles that appear late, and two spoken lines. Odd films have keyframes at a fixed
    distance. With `clips`, every second scene is a stretch of one of them. `short` makes about 15
    seconds instead of 50.
    """
    if number < 0:
        raise InvalidValue("number", number, "0 or more")
    rng = random.Random(f"synthetic/{seed}/{number}")
    drafts = _drafts(rng, f"s{seed}n{number}", clips, num_scenes=3 if short else 6)
    shots = _placed(drafts, rng)
    key_frames: KeyFrames = "fixed" if number % 2 else "cuts"
    texts = _titles(shots, [draft.title for draft in drafts], rng)
    recipe = Recipe(
        name=f"made_{seed}_{number:03d}",
        seed=seed,
        width_px=WIDTH_PX,
        height_px=HEIGHT_PX,
        fps=FPS,
        key_frames=key_frames,
        shots=shots,
        texts=(*texts, _banner(shots, texts, rng)),
        speech=_speech(shots, rng, num_lines=1 if short else 2),
    )
    return check_recipe(recipe)


def _drafts(
    rng: random.Random, key: str, clips: Sequence[ClipFile], *, num_scenes: int
) -> list[_Draft]:
    """Return the shots in order: scenes, then repeats moved in, then one event."""
    titles = rng.sample(TITLES, num_scenes + 1)
    scenes = [
        _Draft(
            scene=f"{key}-{i}",
            role="scene",
            num_frames=round(FPS * rng.uniform(4.0, 6.5)),
            title=titles[i],
            moves=rng.random() < 0.5,
        )
        for i in range(num_scenes)
    ]
    for draft in scenes[1::2] if clips else ():
        _take(draft, rng.choice(clips), rng)
    longest = rng.choice(scenes[1:-1])
    longest.num_frames += round(FPS * rng.uniform(4.0, 6.0))
    order = _with_repeats(scenes, rng, num_repeats=1 if num_scenes < 5 else 3)
    return _with_event(order, longest, f"{key}-event", titles[num_scenes], rng)


def _take(draft: _Draft, clip: ClipFile, rng: random.Random) -> None:
    """Take a shot from a clip: a random stretch of the shot's length, or all of a shorter clip."""
    spare_s = clip.duration_s - draft.num_frames / FPS
    draft.clip = clip.name
    draft.clip_start_s = round(rng.uniform(0.0, spare_s), 1) if spare_s > 0 else 0.0
    draft.moves = True


def _with_repeats(scenes: list[_Draft], rng: random.Random, *, num_repeats: int) -> list[_Draft]:
    """Insert repeats of some scenes after them, never next to a shot of the same scene."""
    order = list(scenes)
    for draft in rng.sample(scenes[:-2], num_repeats) if num_repeats > 1 else [scenes[0]]:
        frames = round(FPS * rng.uniform(3.5, 5.0))
        again = replace(draft, role="repeat", num_frames=min(frames, draft.num_frames))
        free = [
            i
            for i in range(order.index(draft) + 2, len(order) + 1)
            if order[i - 1].scene != draft.scene
            and (i == len(order) or order[i].scene != draft.scene)
        ]
        order.insert(rng.choice(free), again)
    return order


def _with_event(
    order: list[_Draft], host: _Draft, scene: str, title: str, rng: random.Random
) -> list[_Draft]:
    """Split the host in two and insert a short shot of another scene."""
    at = order.index(host)
    first = round(host.num_frames * rng.uniform(0.4, 0.6))
    event = _Draft(
        scene=scene,
        role="event",
        num_frames=round(FPS * rng.uniform(2.2, 3.0)),
        title=title,
        moves=True,
    )
    rest = replace(
        host,
        role="rest",
        num_frames=host.num_frames - first,
        clip_start_s=round(host.clip_start_s + first / FPS, 3) if host.clip else 0.0,
    )
    return [*order[:at], replace(host, num_frames=first), event, rest, *order[at + 1 :]]


def _placed(drafts: Sequence[_Draft], rng: random.Random) -> tuple[Shot, ...]:
    """Return the shots with their times; about every fifth cut is a blend."""
    shots, frame = [], 0
    for index, draft in enumerate(drafts):
        end = frame + draft.num_frames
        blends = index > 0 and draft.role in ("scene", "repeat") and rng.random() < 0.25
        shots.append(
            Shot(
                index=index,
                scene=draft.scene,
                role=draft.role,
                start_s=frame / FPS,
                end_s=end / FPS,
                moves=draft.moves,
                clip=draft.clip,
                clip_start_s=draft.clip_start_s,
                fade_s=FADE_S if blends else 0.0,
            )
        )
        frame = end
    return tuple(shots)


def _grid(time_s: float) -> float:
    return round(time_s * FPS) / FPS


def _titles(shots: Sequence[Shot], titles: Sequence[str], rng: random.Random) -> tuple[Line, ...]:
    """Return one title for each shot; half of the scenes show theirs late."""
    late: dict[str, bool] = {}
    lines = []
    for shot, title in zip(shots, titles, strict=True):
        is_late = late.setdefault(shot.scene, rng.random() < 0.5)
        starts_late = is_late and shot.role in ("scene", "repeat")
        lead_s = LATE_TITLE * (shot.end_s - shot.start_s) if starts_late else 0.0
        lines.append(Line(text=title, start_s=_grid(shot.start_s + lead_s), end_s=shot.end_s))
    return tuple(lines)


def _banner(shots: Sequence[Shot], titles: Sequence[Line], rng: random.Random) -> Line:
    """Return a second text, shown for about two seconds in the middle of a shot."""
    host = rng.choice([s for s in shots if s.role != "event" and s.end_s - s.start_s >= 3.4])
    start_s = _grid(host.start_s + rng.uniform(0.8, host.end_s - host.start_s - 2.4))
    end_s = _grid(start_s + rng.uniform(1.6, 2.2))
    return Line(text=rng.choice(BANNERS), start_s=start_s, end_s=end_s, is_banner=True)


def _speech(shots: Sequence[Shot], rng: random.Random, *, num_lines: int) -> tuple[Line, ...]:
    """Return spoken lines, each in a shot of its own that is long enough."""
    room = [s for s in shots if s.end_s - s.start_s >= SPEECH_S + 2 * SPEECH_LEAD_S - 1e-9]
    chosen = sorted(rng.sample(room, min(num_lines, len(room))), key=lambda shot: shot.start_s)
    lines = rng.sample(SPOKEN, len(chosen))
    return tuple(
        Line(
            text=text,
            start_s=_grid(shot.start_s + SPEECH_LEAD_S),
            end_s=_grid(shot.start_s + SPEECH_LEAD_S + SPEECH_S),
        )
        for shot, text in zip(chosen, lines, strict=True)
    )

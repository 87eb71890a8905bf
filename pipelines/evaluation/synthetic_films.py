"""Build a library of made films, and read back what every stage decided about each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.config import Config
from fdvs.datasets.synthetic.film import film_path
from fdvs.datasets.synthetic.recipe import Line, Recipe, Span, read_recipe
from fdvs.errors import ModelError, ModelUnavailable
from fdvs.models.cards import LoadSettings, resolve
from fdvs.models.describe.ocr import ScreenTextSource
from fdvs.pipelines.evaluation.predictions import open_predictions
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.presets import preset
from fdvs.redundancy.rules import Mask
from fdvs.report import BuildReport
from fdvs.store.store import Store
from fdvs.types import Chapter, ClipView, Image, ModelIdentity, Observation, Vectors

SCREEN_TEXT, SPEECH = "screen-text", "speech-tiny-en"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BuiltFilm:
    """What a library holds of one film. Lists go by clip, in order of time.

    `times_s` and `frames` are the sampled pictures of each clip and their raw vectors [n, D],
    `kept_frames` which of them were described; `vectors` [N, D] are those of the chapters,
    `kept` tells the chapters that the story was told from.
    """

    recipe: Recipe
    video_id: str
    chapters: tuple[Chapter, ...]
    kept: Mask
    vectors: Vectors
    times_s: tuple[tuple[float, ...], ...]
    frames: tuple[Vectors, ...]
    kept_frames: tuple[Mask, ...]

    @property
    def spans(self) -> tuple[Span, ...]:
        return tuple((chapter.start_s, chapter.end_s) for chapter in self.chapters)

    @property
    def told(self) -> tuple[Chapter, ...]:
        """The kept chapters."""
        return tuple(c for c, keep in zip(self.chapters, self.kept, strict=True) if keep)


def synthetic_config(*, hears: bool, base: Config | None = None) -> Config:
    """Return the settings for made films: those given (or preset offline) with text and sound."""
    config = base or preset("offline")
    wanted = (SCREEN_TEXT, *([SPEECH] if hears else []))
    sources = (*config.perceive.sources, *(w for w in wanted if w not in config.perceive.sources))
    return replace(config, perceive=replace(config.perceive, sources=sources))


def can_hear(models: Mapping[str, Any] | None = None) -> str:
    """Return why speech cannot be recognised here, or '' where it can."""
    if f"source:{SPEECH}" in (models or {}):
        return ""
    try:
        ModelSet(synthetic_config(hears=True)).identity(f"source:{SPEECH}")
    except ModelError as error:
        return str(error)
    return ""


class RecipeReader:
    """A Describer that reads from the recipe beside a film what stands on the frames it is given.

    It tells apart what a rule of redundancy loses from what a reader of screen text misses, and
    costs nothing. Never compare its scores with those of a reader that looks at pictures.
    """

    source = "screen text"
    needs_frames = True
    batch_size = 8

    def __init__(self) -> None:
        self.identity = ModelIdentity(
            role="source", backend="recipe", name="recipe-reader", is_stand_in=True
        )

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Return the texts on the frames of each clip. Raises ConfigError without a recipe."""
        return [self._read(view) for view in clips]

    def _read(self, view: ClipView) -> list[Observation]:
        texts = read_recipe(view.video_path.with_suffix(".json")).texts
        times_s = [frame.time_s for frame in view.frames]
        shown = [t for t in texts if any(t.start_s <= time_s < t.end_s for time_s in times_s)]
        return _observations(self.source, view, sorted(shown, key=lambda text: text.start_s))


class RecipeListener:
    """A Describer that hears from the recipe which lines are said in a clip (by their middle)."""

    source = "speech"
    needs_frames = False
    batch_size = 8

    def __init__(self) -> None:
        self.identity = ModelIdentity(
            role="source", backend="recipe", name="recipe-listener", is_stand_in=True
        )

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Return the lines said in each clip. Raises ConfigError without a recipe."""
        return [self._hear(view) for view in clips]

    def _hear(self, view: ClipView) -> list[Observation]:
        speech = read_recipe(view.video_path.with_suffix(".json")).speech
        clip = view.clip
        said = [s for s in speech if clip.start_s <= (s.start_s + s.end_s) / 2 < clip.end_s]
        return _observations(self.source, view, said)


def _observations(source: str, view: ClipView, lines: Sequence[Line]) -> list[Observation]:
    return [
        Observation(
            source=source,
            text=text,
            start_s=view.clip.start_s,
            end_s=view.clip.end_s,
        )
        for text in dict.fromkeys(line.text for line in lines)
    ]


class RememberedText(ScreenTextSource):
    """Reads every picture once, also over several runs: other rules ask about the same pictures.

    Close it after use; what was read lies in a file of JSON lines, by the digest of the picture.
    """

    def __init__(self, reader: ScreenTextSource, path: Path) -> None:
        super().__init__(reader._engine, reader.identity, reader._options)
        settings = {"reader": asdict(reader.identity), "min": reader._options.min_confidence}
        self._known = open_predictions(path, settings=settings, on_change="start over")

    @classmethod
    def load_at(cls, path: Path) -> RememberedText:
        """Raises ModelUnavailable where text cannot be read here."""
        card = resolve(SCREEN_TEXT, "source")
        return cls(ScreenTextSource.load(card, LoadSettings()), path)

    def close(self) -> None:
        self._known.close()

    def _read(self, image: Image) -> list[tuple[str, float]]:
        key = hashlib.sha256(image.tobytes()).hexdigest()
        if key not in self._known:
            found = [[text, score] for text, score in super()._read(image)]
            self._known.add({"id": key, "found": found})
        return [(str(text), float(score)) for text, score in self._known.done[key]["found"]]


def build_films(
    library: Library, folder: Path, recipes: Sequence[Recipe]
) -> tuple[list[BuiltFilm], BuildReport]:
    """Build the films with the library's settings and read back what came out.

    Raises ModelUnavailable for a missing model, ModelError where a film of ours cannot be built.
    """
    report = library.build([film_path(folder, recipe) for recipe in recipes])
    failed = [row for row in report.rows if row.status == "failed"]
    if failed:
        raise ModelError(f"made film {failed[0].name} could not be built: {failed[0].reason}")
    ids = {row.name: row.video_id for row in report.rows}
    with Store.open(library.path) as store:
        films = [
            read_film(store, recipe, ids[film_path(folder, recipe).name] or "")
            for recipe in recipes
        ]
    return films, report


def read_film(store: Store, recipe: Recipe, video_id: str) -> BuiltFilm:
    """Read one film's decisions from a library."""
    chapters = store.get_all(video_id, "chapter")
    frames = store.get_all(video_id, "frames")
    kept_frames = store.get_all(video_id, "kept_frames")
    vectors = store.get_all(video_id, "chapter_vector")
    kept = store.get(video_id, "kept_chapters")
    assert kept is not None, f"{recipe.name} was not finished"
    return BuiltFilm(
        recipe=recipe,
        video_id=video_id,
        chapters=tuple(
            Chapter(video_id=video_id, index=i, **chapters[i].payload) for i in sorted(chapters)
        ),
        kept=np.array(kept.payload["kept"], dtype=np.bool_),
        vectors=np.concatenate([_rows(vectors[i].vectors) for i in sorted(vectors)]),
        times_s=tuple(tuple(frames[i].payload["times_s"]) for i in sorted(frames)),
        frames=tuple(_rows(frames[i].vectors) for i in sorted(frames)),
        kept_frames=tuple(
            np.array(kept_frames[i].payload["kept"], dtype=np.bool_) for i in sorted(kept_frames)
        ),
    )


def _rows(vectors: Vectors | None) -> Vectors:
    if vectors is None:
        raise ModelUnavailable("a stored result has no vectors; build the library again")
    return vectors

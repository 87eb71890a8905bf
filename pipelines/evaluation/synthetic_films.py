"""Build a library of made films, and read back what every stage decided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.config import Config
from fdvs.datasets.synthetic.film import film_path
from fdvs.datasets.synthetic.recipe import Recipe, Span
from fdvs.errors import ModelError, ModelUnavailable
from fdvs.pipelines.build.finish import chapter_from_payload
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.presets import preset
from fdvs.pipelines.sources import without_auto
from fdvs.report import BuildReport
from fdvs.store.store import Store
from fdvs.types import Chapter, Mask, Vectors

SCREEN_TEXT, SPEECH = "screen-text", "speech-tiny-en"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BuiltFilm:
    """What a library holds of one film. Lists go by clip, in order of time.

    `times_s` and `frames` are the sampled pictures of each clip and their raw vectors [n, D],
    `kept_frames` which of them were described; `vectors` [N, D] are those of the chapters,
    `kept` marks the chapters that the story is built from.
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
    def kept_chapters(self) -> tuple[Chapter, ...]:
        """The chapters that redundancy reduction kept."""
        return tuple(c for c, keep in zip(self.chapters, self.kept, strict=True) if keep)


def synthetic_config(*, hears: bool, base: Config | None = None) -> Config:
    """Return the settings for made films: those given (or preset offline) with text and sound."""
    config = without_auto(base or preset("offline"))
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
            chapter_from_payload(video_id, i, chapters[i].payload) for i in sorted(chapters)
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

"""The same made films built with other settings: one row of scores for each.

Films are made once, every picture is read once, and one library serves all settings: what they do
not change is not computed again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.answers.choice.chooser import Chooser
from fdvs.config import Config
from fdvs.datasets.synthetic.film import make_films
from fdvs.datasets.synthetic.questions import TEMPORAL, split_of
from fdvs.datasets.synthetic.sound import MISSING, can_speak
from fdvs.files import Closing
from fdvs.metrics.interval import interval_of_mean
from fdvs.pipelines.evaluation.rule_reader import RuleReader
from fdvs.pipelines.evaluation.synthetic import default_chooser, heard_only
from fdvs.pipelines.evaluation.synthetic_answers import answer_all, materials, moment_scores
from fdvs.pipelines.evaluation.synthetic_films import (
    SCREEN_TEXT,
    SPEECH,
    BuiltFilm,
    RecipeListener,
    RecipeReader,
    RememberedText,
    build_films,
    can_hear,
    synthetic_config,
)
from fdvs.pipelines.evaluation.synthetic_scores import cut_rows, found_cuts
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet

logger = logging.getLogger(__name__)


class FilmStudy(Closing):
    """A context manager: films, their questions, and a chooser; `row` builds and scores.

    Texts and speech are told by the recipe, for the frames and clips that are described: so rows
    differ by what the settings keep and by nothing else. `readable` is the share of questions that
    rules which know them answer from the same words. With `recognise` they are read and heard
    as in a build (some 0.4 s of a core for each picture, once in all runs).

    Raises ModelUnavailable where ffmpeg, the reader of screen text or a model is missing.
    """

    def __init__(
        self,
        out: Path,
        chooser: Chooser | None = None,
        *,
        num_films: int,
        seed: int = 0,
        clips: Path | None = None,
        short: bool = False,
        recognise: bool = False,
        models: Mapping[str, Any] | None = None,
    ) -> None:
        self._out, self._chooser = out, chooser
        self._models = dict(models or {})
        if not recognise:
            self._models.setdefault(f"source:{SCREEN_TEXT}", RecipeReader())
            self._models.setdefault(f"source:{SPEECH}", RecipeListener())
        self._stack = ExitStack()
        self.recipes = make_films(
            out / "films", num_films=num_films, seed=seed, clips=clips, short=short
        )
        self.deaf = can_hear(self._models) if can_speak() else MISSING
        split = split_of(self.recipes)
        self.questions, self.queries = heard_only(split, self.recipes, is_deaf=bool(self.deaf))
        if f"source:{SCREEN_TEXT}" not in self._models:
            reader = RememberedText.load_at(out / "screen_text.jsonl")
            self._stack.callback(reader.close)
            self._models[f"source:{SCREEN_TEXT}"] = reader

    def close(self) -> None:
        self._stack.close()

    def config(self, base: Config | None = None) -> Config:
        """Return settings that read text on screen, and speech where films have any."""
        return synthetic_config(hears=not self.deaf, base=base)

    def films(self, config: Config) -> list[BuiltFilm]:
        """Build the films with these settings and return what the library holds of them."""
        with Library.open(self._out / "library", config=config, models=self._models) as library:
            return build_films(library, self._out / "films", self.recipes)[0]

    def row(self, name: str, config: Config) -> dict[str, Any]:
        """Build the films with these settings and return the scores."""
        started = time.monotonic()
        with Library.open(self._out / "library", config=config, models=self._models) as library:
            films, report = build_films(library, self._out / "films", self.recipes)
            seconds = time.monotonic() - started
            moments = moment_scores(self.queries, films, library)
        row = {
            "name": name,
            **self._answers(films, config),
            "R1@0.5": moments["R1@0.5"],
            "R1@0.5_interval": moments["R1@0.5_interval"],
            "num_queries": moments["num_queries"],
            "cut_f1": cut_rows([f.recipe for f in films], [found_cuts(f) for f in films])["f1"],
            **kept_shares(films),
            "num_clips": sum(len(film.chapters) for film in films),
            "num_captioner_calls": report.saved.num_captioner_calls,
            "build_s": round(seconds, 1),
        }
        logger.info("%s", row)
        return row

    def _answers(self, films: Sequence[BuiltFilm], config: Config) -> dict[str, Any]:
        embedder = ModelSet(config, models=self._models).text_embedder
        # the next settings need the model again
        self._models.setdefault("text_embedder", embedder)
        told = {film.recipe.name: film.told for film in films}
        known = materials(told, embedder)
        answered = answer_all(self.questions, known, self._chooser or default_chooser(embedder))
        readable = answer_all(self.questions, known, RuleReader())
        groups = [question.video_id for question in self.questions]
        interval = interval_of_mean(answered.right, groups)
        temporal = [
            right
            for question, right in zip(self.questions, answered.right, strict=True)
            if question.kind in TEMPORAL
        ]
        low_high = interval.bounds
        return {
            "accuracy": round(interval.value, 4),
            "accuracy_interval": None if low_high is None else [round(b, 4) for b in low_high],
            "readable": round(float(np.mean(readable.right)), 4),
            "temporal_accuracy": round(float(np.mean(temporal)), 4) if temporal else None,
            "num_questions": len(groups),
        }


def kept_shares(films: Sequence[BuiltFilm]) -> dict[str, float]:
    """Return the shares of frames and of chapters that were kept."""
    frames = np.concatenate([mask for film in films for mask in film.kept_frames])
    chapters = np.concatenate([film.kept for film in films])
    return {
        "frames_kept": round(float(frames.mean()), 4),
        "chapters_kept": round(float(chapters.mean()), 4),
    }


def mean_row(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of numeric columns over rows of the same settings with other seeds."""
    first = rows[0]
    means = {
        key: round(float(np.mean([row[key] for row in rows])), 4)
        for key, value in first.items()
        if isinstance(value, int | float)
    }
    ranged = [key for key in ("accuracy", "readable", "R1@0.5") if key in first]
    lowest = {f"{key}_min": min(row[key] for row in rows) for key in ranged}
    highest = {f"{key}_max": max(row[key] for row in rows) for key in ranged}
    return {"name": name, **means, **lowest, **highest, "num_draws": len(rows)}

"""The same made films built with different settings: one row of scores for each.

Films are made once and one library serves all settings: what a setting does not change is not
computed again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.answers.choice.chooser import Chooser
from fdvs.config import Config
from fdvs.datasets.synthetic.film import make_films
from fdvs.datasets.synthetic.questions import TEMPORAL, split_of
from fdvs.datasets.synthetic.recipe import read_recipe
from fdvs.datasets.synthetic.sound import MISSING, can_speak
from fdvs.metrics.interval import interval_of_mean
from fdvs.models.scripted import ScriptedDescriber
from fdvs.pipelines.evaluation.rule_reader import RuleReader
from fdvs.pipelines.evaluation.synthetic import default_chooser, heard_only
from fdvs.pipelines.evaluation.synthetic_answers import answer_all, evidence_by_film, moment_scores
from fdvs.pipelines.evaluation.synthetic_films import (
    SCREEN_TEXT,
    SPEECH,
    BuiltFilm,
    build_films,
    can_hear,
    synthetic_config,
)
from fdvs.pipelines.evaluation.synthetic_scores import cut_rows, found_cuts
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.types import ClipView

logger = logging.getLogger(__name__)


def shown_texts(view: ClipView) -> list[str]:
    """Return the texts that the recipe beside the film shows on the given frames."""
    times_s = [frame.time_s for frame in view.frames]
    shown = [
        text
        for text in read_recipe(view.video_path.with_suffix(".json")).texts
        if any(text.start_s <= time_s < text.end_s for time_s in times_s)
    ]
    return list(dict.fromkeys(t.text for t in sorted(shown, key=lambda text: text.start_s)))


def spoken_lines(view: ClipView) -> list[str]:
    """Return the lines that the recipe has spoken in the clip (where their middle lies)."""
    speech = read_recipe(view.video_path.with_suffix(".json")).speech
    start_s, end_s = view.clip.start_s, view.clip.end_s
    said = [s.text for s in speech if start_s <= (s.start_s + s.end_s) / 2 < end_s]
    return list(dict.fromkeys(said))


class FilmStudy:
    """Films, their questions, and a chooser; `row` builds a library and returns its scores.

    Text on screen and speech come from the recipe, for the frames and clips that are described: so
    rows differ by what the settings keep and by nothing else. Never compare them with scores of
    models that look at pictures. `readable` is the share of questions that rules which know the
    questions answer from the same words.

    Raises ModelUnavailable where ffmpeg or a model is missing.
    """

    def __init__(
        self,
        out: Path,
        chooser: Chooser | None = None,
        *,
        num_films: int,
        seed: int = 0,
        short: bool = False,
        models: Mapping[str, Any] | None = None,
    ) -> None:
        self._out, self._chooser = out, chooser
        self._models = {
            f"source:{SCREEN_TEXT}": ScriptedDescriber(shown_texts, source="screen text"),
            f"source:{SPEECH}": ScriptedDescriber(
                spoken_lines, source="speech", needs_frames=False
            ),
            **(models or {}),
        }
        self.recipes = make_films(out / "films", num_films=num_films, seed=seed, short=short)
        self.deaf = can_hear(self._models) if can_speak() else MISSING
        split = split_of(self.recipes)
        self.questions, self.queries = heard_only(split, self.recipes, is_deaf=bool(self.deaf))

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
        chapters = {film.recipe.name: film.kept_chapters for film in films}
        known = evidence_by_film(chapters, embedder)
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

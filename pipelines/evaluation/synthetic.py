"""The synthetic benchmark, end to end: make films, build a library of them, score every stage.

    found = run_films(Path("out"), num_films=8, seed=0)

Cutting, redundancy of frames and chapters, moments and multiple-choice answers are compared with
the films' recipes. Films and library lie in the given folder and are reused by the next run.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fdvs.answers.choice.chooser import Chooser
from fdvs.config import Config
from fdvs.datasets.examples import ChoiceQuestion, Query, Split
from fdvs.datasets.synthetic.film import make_films
from fdvs.datasets.synthetic.questions import split_of
from fdvs.datasets.synthetic.recipe import Recipe
from fdvs.datasets.synthetic.sound import MISSING, can_speak
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.result import EvalResult
from fdvs.pipelines.evaluation.synthetic_answers import choice_scores, moment_scores
from fdvs.pipelines.evaluation.synthetic_films import (
    BuiltFilm,
    build_films,
    can_hear,
    synthetic_config,
)
from fdvs.pipelines.evaluation.synthetic_scores import cut_rows, found_cuts, redundancy_rows
from fdvs.pipelines.library import Library
from fdvs.pipelines.model_set import ModelSet
from fdvs.protocols import TextEmbedder

NUM_FILMS, NUM_QUICK = 8, 2
SPOKEN_KINDS = ("said", "written")
DETAILS = ("moments", "cuts", "redundancy", "temporal", "content")


def run(job: Job, split: Split, texts: Texts) -> EvalResult:
    """Make films (from the scenes of `--videos` too, where given), build, and score every stage."""
    found = run_films(
        job.out,
        num_films=NUM_FILMS,
        clips=job.videos,
        quick=job.quick,
        config=job.config,
        models=job.models,
    )
    return result_of(job, split, texts, found)


def result_of(job: Job, split: Split, texts: Texts, found: Mapping[str, Any]) -> EvalResult:
    """Return the result of what the films gave."""
    controls = dict(found["controls"])
    counts = {str(name): int(value) for name, value in found["counts"].items()}
    interval = found["interval"]
    return EvalResult(
        row=job.row.name,
        dataset=split.dataset,
        split=f"{counts['num_films']} films, seed {found['settings']['seed']}",
        is_partial=job.quick,
        metric=job.row.metric,
        score=found["score"],
        interval=None if interval is None else (interval[0], interval[1]),
        num_items=counts["num_questions"],
        num_videos=counts["num_films"],
        source=texts.source,
        floor=found["floor"],
        other_video=controls.pop("other_video", None),
        controls=controls,
        groups=found["groups"],
        counts=counts,
        backends=found["backends"],
        settings=found["settings"],
        details={name: found[name] for name in DETAILS},
        notes=tuple(found["notes"]),
    )


def run_films(
    out: Path,
    *,
    num_films: int = NUM_FILMS,
    seed: int = 0,
    clips: Path | None = None,
    quick: bool = False,
    config: Config | None = None,
    chooser: Chooser | None = None,
    models: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Make, build and score; return everything that was measured.

    Args:
        out: folder for films and library.
        num_films: how many films; `quick` takes at most two short ones.
        seed: which set of films.
        clips: folder with real films, of which every second scene is taken.
        config: settings of the build; preset offline by default. Reading text on screen, and
            speech where films have any, are added.
        chooser: answers multiple-choice questions; by default from evidence, without an LLM.
        models: own models by role (see `ModelSet`).

    Raises:
        ModelUnavailable: no ffmpeg, or a model of the settings is not here.
        ConfigError: nothing to take shots from in `clips`.
    """
    started = time.monotonic()
    number = min(num_films, NUM_QUICK) if quick else num_films
    recipes = make_films(out / "films", num_films=number, seed=seed, clips=clips, short=quick)
    deaf = can_hear(models) if can_speak() else MISSING
    split = split_of(recipes)
    questions, queries = heard_only(split, recipes, is_deaf=bool(deaf))
    settings = synthetic_config(hears=not deaf, base=config)
    with Library.open(out / "library", config=settings, models=models) as library:
        films, report = build_films(library, out / "films", recipes)
        embedder = ModelSet(settings, models=models).text_embedder
        answers = choice_scores(
            questions,
            {film.recipe.name: film.kept_chapters for film in films},
            recipes,
            chooser or default_chooser(embedder),
            embedder,
        )
        moments = moment_scores(queries, films, library)
    return {
        **answers,
        "moments": moments,
        "cuts": cut_results(films),
        "redundancy": redundancy_rows(films, settings.visual, settings.textual),
        "counts": counts(films, questions, queries),
        "notes": notes(deaf, clips),
        "backends": dict(report.backends),
        "settings": {"num_films": number, "seed": seed, "quick": quick, "clips": bool(clips)},
        "seconds": round(time.monotonic() - started, 1),
    }


def default_chooser(embedder: TextEmbedder) -> Chooser:
    """Return the chooser that needs no language model."""
    from fdvs.answers.choice.by_evidence import EvidenceChooser

    return EvidenceChooser(embedder)


def heard_only(
    split: Split, recipes: Sequence[Recipe], *, is_deaf: bool
) -> tuple[list[ChoiceQuestion], list[Query]]:
    """Return the questions and queries; those about speech only where it can be heard."""
    if not is_deaf:
        return list(split.choices), list(split.queries)
    spoken = {line.text for recipe in recipes for line in recipe.speech}
    return (
        [question for question in split.choices if question.kind not in SPOKEN_KINDS],
        [query for query in split.queries if not query.text.endswith(tuple(spoken) or ("\0",))],
    )


def cut_results(films: Sequence[BuiltFilm]) -> dict[str, Any]:
    """Return the scores of cut points: all films, and apart by where key frames lie."""
    found = {"all": films}
    for kind in ("cuts", "fixed"):
        found[f"key_frames_{kind}"] = [f for f in films if f.recipe.key_frames == kind]
    return {
        name: cut_rows([f.recipe for f in some], [found_cuts(f) for f in some])
        for name, some in found.items()
        if some
    }


def counts(
    films: Sequence[BuiltFilm], questions: Sequence[ChoiceQuestion], queries: Sequence[Query]
) -> dict[str, int]:
    return {
        "num_films": len(films),
        "num_questions": len(questions),
        "num_queries": len(queries),
        "num_clips": sum(len(film.chapters) for film in films),
        "num_chapters_kept": sum(int(film.kept.sum()) for film in films),
        "num_frames": sum(len(mask) for film in films for mask in film.kept_frames),
        "num_frames_kept": sum(int(m.sum()) for film in films for m in film.kept_frames),
    }


def notes(deaf: str, clips: Path | None) -> list[str]:
    """Return what limits the result, one sentence each."""
    found = ["Films are drawn: the scores say what the pipeline does, not what its eyes are worth."]
    if deaf:
        found.append(f"No speech in these scores: {deaf}")
    if clips is None:
        found.append("No real clips: name a folder of them to have every second scene taken there.")
    else:
        found.append("Cuts inside real clips are unknown and count neither way.")
    return found

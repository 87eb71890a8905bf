"""How well the way of choosing settings generalises: cross-validation by video, out of fold.

Takes the evidence's parts of every question under each of some settings, chooses the best settings
on four fifths of the videos of all datasets together, and scores the last fifth with them; so no
question is scored by settings that saw its video. The settings that are committed were chosen once
on everything and rounded (`fdvs.answers.choice.choice_settings`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from fdvs.answers.choice.background import Background
from fdvs.answers.choice.by_evidence import EvidenceChooser, weighted
from fdvs.answers.choice.choice_settings import ChoiceSettings
from fdvs.datasets.examples import ChoiceQuestion
from fdvs.errors import InvalidValue
from fdvs.pipelines.evaluation.choice import MaterialOf
from fdvs.protocols import TextEmbedder

NUM_FOLDS = 5
#: What each setting of the evidence may be; one is varied at a time around the committed ones.
GRID: Mapping[str, tuple[float, ...]] = {
    "enough_mentions": (1.0, 10.0),
    "likeness": (4.0, 8.0),
    "shared": (0.3, 0.7),
    "time_weight": (0.0, 0.05, 0.2),
    "background_nearest": (10, 50),
}
MEANING_WEIGHTS = (0.5, 1.5, 2.5, 3.5)
STATEMENT_WEIGHTS = (0.0, 2.5, 3.5, 4.5)
LLM_WEIGHTS = (0.0, 0.01, 0.02, 0.03, 0.05)
BLIND_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

Rights = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Out-of-fold answers of one dataset.

    `right` [N] is what settings of other videos answered right; `chosen` names, fold by fold, the
    settings that were best on the other folds.
    """

    right: Rights
    chosen: tuple[str, ...]


def candidates(start: ChoiceSettings | None = None) -> Iterator[ChoiceSettings]:
    """Return the committed settings, and those that differ from them in one of `GRID`."""
    start = start or ChoiceSettings()
    yield start
    for name, values in GRID.items():
        for value in values:
            yield replace(start, **{name: value})  # type: ignore[arg-type]


def evidence_rights(
    questions: Sequence[ChoiceQuestion],
    material_of: MaterialOf,
    embedder: TextEmbedder,
    background: Background,
    settings: Iterable[ChoiceSettings],
) -> dict[str, Rights]:
    """Return which questions each candidate answers right, by its name. Shape [N] each.

    The weights of meaning and statement are varied within each candidate, which costs nothing.
    """
    choosers = [EvidenceChooser(embedder, background=background, settings=one) for one in settings]
    rows: dict[str, list[bool]] = {}
    for question in questions:
        material = material_of(question)
        for chooser in choosers:
            parts = chooser.choose(question.question, question.options, material).parts
            for meaning, statement in product(MEANING_WEIGHTS, STATEMENT_WEIGHTS):
                one = replace(chooser.settings, meaning_weight=meaning, statement_weight=statement)
                right = int(weighted(parts, one).argmax()) == question.answer
                rows.setdefault(named(one), []).append(right)
    return {name: np.array(row) for name, row in rows.items()}


def named(settings: ChoiceSettings) -> str:
    """Return what differs from the committed settings, in words."""
    usual = ChoiceSettings()
    different = [
        f"{one.name} {getattr(settings, one.name):g}"
        for one in fields(settings)
        if getattr(settings, one.name) != getattr(usual, one.name)
    ]
    return ", ".join(different) or "as committed"


def combined_rights(
    questions: Sequence[ChoiceQuestion],
    records: Mapping[str, Mapping[str, Mapping[str, list[float]]]],
) -> dict[str, Rights]:
    """Return which questions are right under each weight of the language model, from predictions.

    `records` are those of the combined answerer, by question id. Options without likelihoods were
    left to the evidence, whatever the weight.
    """
    usual = ChoiceSettings()
    rows: dict[str, list[bool]] = {}
    for question in questions:
        parts = {name: np.array(one) for name, one in records[question.id]["parts"].items()}
        base = weighted(parts, usual)
        for share in BLIND_SHARES:
            gain = parts["with_evidence"] - share * parts["blind"] if "llm" in parts else base * 0
            counts = parts.get("tokens", np.ones(len(base)))
            score = gain - counts * gain.sum() / counts.sum()
            for weight in LLM_WEIGHTS:
                name = named(replace(usual, blind_share=share, llm_weight=weight))
                chosen = int((base + weight * score).argmax())
                rows.setdefault(name, []).append(chosen == question.answer)
    return {name: np.array(row) for name, row in rows.items()}


def fold_of(video_id: str) -> int:
    """Return the fold of a video, by hash."""
    return hashlib.sha256(f"fold {video_id}".encode()).digest()[0] % NUM_FOLDS


def cross_validated(
    rights: Mapping[str, Mapping[str, Rights]], videos: Mapping[str, Sequence[str]]
) -> dict[str, Folded]:
    """Choose on the other folds of all datasets, equally weighted, and score each fold.

    Args:
        rights: by dataset, which questions each candidate answers right.
        videos: by dataset, the video of each question.

    Of equals the candidate that comes first wins. Raises InvalidValue where the datasets were not
    scored by the same candidates.
    """
    names = [list(of_dataset) for of_dataset in rights.values()]
    if any(one != names[0] for one in names):
        raise InvalidValue("candidates", "different ones", "the same for every dataset")
    folds = {name: np.array([fold_of(video) for video in videos[name]]) for name in rights}
    right = {name: np.zeros(len(folds[name]), dtype=bool) for name in rights}
    chosen: list[str] = []
    for fold in range(NUM_FOLDS):
        best = max(names[0], key=lambda one: _mean_outside(rights, folds, fold, one))
        chosen.append(best)
        for name, of_dataset in rights.items():
            inside = folds[name] == fold
            right[name][inside] = of_dataset[best][inside]
    return {name: Folded(right=right[name], chosen=tuple(chosen)) for name in rights}


def _mean_outside(
    rights: Mapping[str, Mapping[str, Rights]],
    folds: Mapping[str, NDArray[np.int_]],
    fold: int,
    candidate: str,
) -> float:
    outside = [rights[name][candidate][folds[name] != fold] for name in rights]
    return float(np.mean([one.mean() for one in outside if len(one)]))

"""Cut points and redundancy of made films, compared with their recipes; no model is needed.

A frame holds a fact (a scene, a text on screen) that it shows; a chapter holds a fact (a spoken
line, too) of which its clip contains enough. A redundancy rule loses a fact where no kept item
holds it. The control drops as many items at random, many times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fdvs.config import RedundancyConfig
from fdvs.datasets.synthetic.recipe import Recipe
from fdvs.metrics.fmeasure import NOTHING, FMeasure, cut_points
from fdvs.metrics.redundancy import KeptList, redundancy_score
from fdvs.pipelines.evaluation.synthetic_films import BuiltFilm
from fdvs.redundancy.rules import Rule, keep_chapters, keep_frames
from fdvs.types import Mask, Vectors

TOLERANCE_S = 0.5
NUM_DRAWS = 200
#: A chapter holds a fact that its clip contains for this long, or for half of the fact's time.
LEAST_S = 1.0
LEAST_SHARE = 0.5

Facts = Sequence[frozenset[str]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listed:
    """One list that a rule works on: the frames of a clip, or the chapters of a film."""

    film: str
    salt: str
    vectors: Vectors
    facts: Facts


def found_cuts(film: BuiltFilm) -> list[float]:
    return [chapter.start_s for chapter in film.chapters[1:]]


def score_cuts(
    recipe: Recipe, found_s: Sequence[float], *, tolerance_s: float = TOLERANCE_S
) -> FMeasure:
    """Match cut points; those inside a real clip count only where they match a known cut."""
    right = recipe.cuts_s

    def counts(time_s: float) -> bool:
        near = any(abs(time_s - cut_s) <= tolerance_s for cut_s in right)
        return near or not any(a < time_s < b for a, b in recipe.unknown_s)

    return cut_points([t for t in found_s if counts(t)], right, tolerance_s=tolerance_s)


def cut_rows(
    recipes: Sequence[Recipe], found: Sequence[Sequence[float]], *, tolerance_s: float = TOLERANCE_S
) -> dict[str, Any]:
    """Return precision, recall and F1 over all films, and F1 of as many cuts at random times."""
    total, by_chance = NOTHING, NOTHING
    rng = np.random.default_rng(0)
    for recipe, times_s in zip(recipes, found, strict=True):
        total += score_cuts(recipe, times_s, tolerance_s=tolerance_s)
        for _ in range(NUM_DRAWS):
            drawn = rng.uniform(0, recipe.duration_s, len(times_s)).tolist()
            by_chance += score_cuts(recipe, drawn, tolerance_s=tolerance_s)
    return {
        "precision": round(total.precision, 4),
        "recall": round(total.recall, 4),
        "f1": round(total.f1, 4),
        "f1_random": round(by_chance.f1, 4),
        "num_found": total.num_found,
        "num_cuts": total.num_right,
        "tolerance_s": tolerance_s,
    }


def frame_lists(films: Sequence[BuiltFilm]) -> list[Listed]:
    """Return the sampled frames of every clip with the facts that each of them shows."""
    lists = []
    for film in films:
        facts = [fact for fact in film.recipe.facts() if fact.kind != "speech"]
        for chapter, times_s, vectors in zip(film.chapters, film.times_s, film.frames, strict=True):
            shown = [frozenset(f.id for f in facts if f.is_at(t)) for t in times_s]
            salt = f"{film.video_id}/{chapter.index}"
            lists.append(Listed(film=film.recipe.name, salt=salt, vectors=vectors, facts=shown))
    return lists


def chapter_lists(films: Sequence[BuiltFilm]) -> list[Listed]:
    """Return the chapters of every film with the facts that each can hold, by the recipe."""
    lists = []
    for film in films:
        held = []
        for start_s, end_s in film.spans:
            here = set()
            for fact in film.recipe.facts():
                shortest_s = min(b - a for a, b in fact.spans)
                if fact.overlap_s(start_s, end_s) >= min(LEAST_S, LEAST_SHARE * shortest_s):
                    here.add(fact.id)
            held.append(frozenset(here))
        lists.append(
            Listed(film=film.recipe.name, salt=film.video_id, vectors=film.vectors, facts=held)
        )
    return lists


def compared(config: Rule, floors: Sequence[float] = ()) -> dict[str, Rule]:
    """Return no rule, the paper's, and the default, `cover`, by name.

    `cover` has the floor of `config`; `floors` adds rows of it at others.
    """
    rules = {
        "none": replace(config, policy="none"),
        "paper": replace(config, policy="paper"),
    }
    for floor in sorted({config.floor, *floors}):
        rules[f"cover {floor:g}"] = replace(config, policy="cover", floor=floor)
    return rules


def rule_rows(
    lists: Sequence[Listed],
    keep: Callable[..., Mask],
    config: RedundancyConfig,
    *,
    floors: Sequence[float] = (),
    num_draws: int = NUM_DRAWS,
) -> list[dict[str, Any]]:
    """Return one row per rule: shares kept and left, what chance leaves, and the gain over it.

    `random` is the mean of draws that keep as many of every list, `random_interval` their middle
    95 %; the interval of the gain is a bootstrap over films. `floors`: more of them for `cover`.
    """
    rows = []
    for name, rule in compared(config, floors).items():
        masks = [keep(items.vectors, rule, salt=items.salt) for items in lists]
        rows.append({"rule": name, **left_beside_chance(lists, masks, rule.policy, num_draws)})
    return rows


def left_beside_chance(
    lists: Sequence[Listed], masks: Sequence[Mask], policy: str, num_draws: int = NUM_DRAWS
) -> dict[str, Any]:
    """Compare masks with random ones of equal size, which keep the first item if the rule does."""
    forced = () if policy == "paper" else (0,)
    score = redundancy_score(
        [
            KeptList(facts=items.facts, kept=mask, group=items.film, forced=forced)
            for items, mask in zip(lists, masks, strict=True)
        ],
        num_draws=num_draws,
    )
    return {
        "kept": round(score.kept_share, 4),
        "left": round(score.left.value, 4),
        "random": round(score.left.mean, 4),
        "random_interval": [round(score.left.low, 4), round(score.left.high, 4)],
        "p_value": round(score.left.p_value, 4),
        "gain": round(score.gain.value, 4),
        "gain_interval": rounded(score.gain.bounds),
        "num_facts": score.num_facts,
        "num_items": score.num_items,
        "num_films": len({items.film for items in lists}),
    }


def rounded(bounds: tuple[float, float] | None) -> list[float] | None:
    """Return an interval with four digits, as JSON."""
    return None if bounds is None else [round(bound, 4) for bound in bounds]


def redundancy_rows(
    films: Sequence[BuiltFilm],
    visual: RedundancyConfig,
    textual: RedundancyConfig,
    *,
    floors: Sequence[float] = (),
) -> Mapping[str, list[dict[str, Any]]]:
    """Return the rows of all rules on frames and on chapters."""
    return {
        "frames": rule_rows(frame_lists(films), keep_frames, visual, floors=floors),
        "chapters": rule_rows(chapter_lists(films), keep_chapters, textual, floors=floors),
    }

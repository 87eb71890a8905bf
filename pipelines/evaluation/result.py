"""The result of an evaluation: one score with everything needed to judge it.

All scores are fractions from 0 to 1, ranks count from 1, times are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fdvs.metrics.choice import Accuracy

Numbers = Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalResult:
    """The score of one row, beside its floor and its controls.

    Attributes:
        row: name of the row; `split` says which records were used, and whether they are partial.
        metric: what `score` is (`accuracy`, `R@1`, ...); `metrics` holds all that were computed.
        interval: 95 % interval of the score, by bootstrap over videos.
        floor: the same score with TF-IDF instead of any model; None where it has no meaning.
        other_video: the same score with another video's texts; None where it has no meaning.
        controls: further controls by name (`question_and_options_only`, `random`, ...).
        groups: scores by kind of question, with their counts under `num_` names.
        source: where the texts came from (published captions, videos, another description).
        backends: role -> model, stand-ins marked as such.
        settings: every choice that can change the score.
        details: whatever else was measured, as plain JSON values.
        notes: sentences on what is not comparable, missing or left out.
    """

    row: str
    dataset: str
    split: str
    is_partial: bool
    metric: str
    score: float
    interval: tuple[float, float] | None
    num_items: int
    num_videos: int
    source: str
    floor: float | None = None
    other_video: float | None = None
    controls: Numbers = field(default_factory=dict)
    metrics: Numbers = field(default_factory=dict)
    groups: Numbers = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    backends: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    num_prompt_tokens: int = 0
    seconds: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; mappings keep their order."""
        return {
            key: dict(value) if isinstance(value, Mapping) else value
            for key, value in asdict(self).items()
        }


def result_from_json(values: Mapping[str, Any]) -> EvalResult:
    """Return the result that `to_json` wrote. Raises TypeError for other fields."""
    plain = dict(values)
    interval = plain.get("interval")
    plain["interval"] = None if interval is None else (float(interval[0]), float(interval[1]))
    plain["notes"] = tuple(plain.get("notes", ()))
    return EvalResult(**plain)


def group_numbers(groups: Mapping[str, Accuracy]) -> dict[str, float]:
    """Return the accuracy of each group, and its number of questions under `num_` names."""
    found: dict[str, float] = {}
    for name, group in groups.items():
        found |= {name: group.value, f"num_{name}": float(group.num_questions)}
    return found

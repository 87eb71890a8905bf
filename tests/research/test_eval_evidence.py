"""The script that measures refusal, support and citations: halves, controls, rows and report."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from fdvs.answers.evidence import Evidence
from fdvs.answers.fit import Answerability
from fdvs.config import AskConfig
from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.models.scripted import HashTextEmbedder

FILMS = {
    f"film{i}": (f"A {colour} car waits. It rains.", f"Two {animal}s eat grass.")
    for i, (colour, animal) in enumerate(
        [("red", "rabbit"), ("blue", "goat"), ("green", "horse"), ("white", "cow"),
         ("black", "sheep"), ("yellow", "goose"), ("pink", "hare"), ("grey", "deer")]
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/eval_evidence.py")


@pytest.fixture(scope="module")
def split() -> Split:
    captions = {
        name: tuple(
            Caption(start_s=float(i), end_s=i + 1.0, text=text) for i, text in enumerate(texts)
        )
        for name, texts in FILMS.items()
    }
    questions = tuple(
        ChoiceQuestion(
            id=f"{name}_0",
            video_id=name,
            question=f"what do the two {texts[1].split()[1]} eat",
            options=("grass", "violins"),
            answer=0,
        )
        for name, texts in FILMS.items()
    )
    return Split(
        dataset="nextqa",
        name="val",
        is_partial=True,
        video_ids=tuple(FILMS),
        choices=questions,
        captions=captions,
    )


@pytest.fixture(scope="module")
def material(script: ModuleType, split: Split) -> dict[str, Evidence]:
    found: dict[str, Evidence] = script.materials(split, HashTextEmbedder(2048))
    return found


def test_halves_are_by_video_and_both_are_there(script: ModuleType) -> None:
    assert {script.half_of(name) for name in FILMS} == set(script.HALVES)
    assert script.half_of("film0") == script.half_of("film0")


def test_the_other_video_is_another_one_of_the_same_half(script: ModuleType, split: Split) -> None:
    other = script.others(split.choices)
    for question in split.choices:
        assert other[question.id] != question.video_id
        assert script.half_of(other[question.id]) == script.half_of(question.video_id)


def test_questions_fit_their_own_video_better_and_rows_survive_the_disk(
    script: ModuleType, split: Split, material: dict[str, Evidence], tmp_path: Path
) -> None:
    embedder = HashTextEmbedder(2048)
    rows = [*script.fit_rows(split.choices, material, Answerability(embedder))]
    rows += [*script.support_rows(material, embedder)]
    rows += [*script.citation_rows(split.choices, material, embedder)]
    for measure in ("fit", "choice fit"):
        values = {
            kind: sum(r.value for r in rows if (r.measure, r.kind) == (measure, kind))
            for kind in ("true", "other")
        }
        assert values["true"] > values["other"]
    script.write_rows(rows, tmp_path / "rows.csv")
    assert script.read_rows(tmp_path / "rows.csv") == rows
    made = script.report(rows, AskConfig())
    cited = made["citation by words, meaning"]
    assert cited["cited"] > cited["random"]
    assert made["fit: true below the bound"]["num_items"] == sum(
        script.half_of(name) == "reported" for name in FILMS
    )
    script.write_report(made, tmp_path / "report.csv")
    with (tmp_path / "report.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert any(row["measure"] == "citation by words, meaning: difference" for row in table)
    assert all(float(row["value"]) == float(row["value"]) for row in table)


def test_the_curve_and_the_share_of_what_names_something_are_counted(script: ModuleType) -> None:
    def rows(kind: str, values: list[float]) -> list[object]:
        base = {"measure": "fit", "half": "reported", "kind": kind}
        return [
            script.Row(item=f"{kind}{n}", video=f"v{n}", value=value, **base)
            for n, value in enumerate(values)
        ]

    made = rows("true", [n / 10 for n in range(10)]) + rows("other", [0.0, 0.1, 0.12, 1.0])
    curve = script.curve(made, "fit")
    assert [one["value"] for one in curve.values()] == [0.25, 0.25, 0.75, 0.75]
    # bounds 0.045, 0.09, 0.135 and 0.18: quantiles of 0, 0.1, ... 0.9
    assert list(curve)[1] == "fit: other refused where 10% of the true are"
    assert script.below(made, "fit", "other", 0.11)["value"] == 0.5
    named = script.below(made, "fit", "other", 0.11, named=True)
    assert (named["value"], named["num_items"]) == (0.6667, 3)

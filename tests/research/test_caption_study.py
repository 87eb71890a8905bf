"""Rules of textual redundancy on captions, and the ablations, on invented videos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from fdvs.answers.choice.chooser import Choice
from fdvs.answers.evidence import Evidence
from fdvs.answers.question import Question
from fdvs.config import Config, TextualConfig
from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.errors import InvalidValue
from fdvs.models.scripted import HashTextEmbedder

EMBEDDER = HashTextEmbedder()
THINGS = (
    "kettle", "saw", "ladder", "basket", "violin", "tractor", "pillow", "candle", "rope", "drum",
)  # fmt: skip


@pytest.fixture(scope="module")
def study(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/caption_study.py")


@pytest.fixture(scope="module")
def tables(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/paper_tables.py")


class Words:
    """Chooses the option that shares most words with any passage; remembers what it was given."""

    backend = "words"

    def __init__(self) -> None:
        self.seen: list[Evidence] = []

    def choose(self, question: Question, material: Evidence) -> Choice:
        self.seen.append(material)
        options = question.options
        scores = [
            max(len({*option.split()} & {*p.text.strip(".").split()}) for p in material.passages)
            for option in options
        ]
        order = sorted(range(len(options)), key=lambda i: (-scores[i], options[i]))
        return Choice(scores=tuple(map(float, scores)), chosen=order[0])


def video(number: int, num_captions: int = 24) -> tuple[tuple[Caption, ...], ChoiceQuestion]:
    """Someone does the same for long, and one thing once: the question asks for that."""
    rng = np.random.default_rng(number)
    once = THINGS[number % len(THINGS)]
    at = int(rng.integers(1, num_captions))
    captions = tuple(
        Caption(
            start_s=float(i),
            end_s=i + 1.0,
            text=f"The cook takes a {once}." if i == at else "The cook stirs soup in a pot.",
        )
        for i in range(num_captions)
    )
    wrong = [THINGS[(number + step) % len(THINGS)] for step in (1, 2, 3)]
    return captions, ChoiceQuestion(
        id=f"q{number}",
        video_id=f"v{number}",
        question="What does the cook take?",
        options=tuple(f"takes a {thing}" for thing in (*wrong, once)),
        answer=3,
    )


def split(num: int = 12) -> Split:
    made = {f"v{n}": video(n) for n in range(num)}
    return Split(
        dataset="invented",
        name="invented",
        is_partial=False,
        video_ids=tuple(made),
        choices=tuple(question for _, question in made.values()),
        captions={name: captions for name, (captions, _) in made.items()},
    )


@pytest.fixture(scope="module")
def videos(study: ModuleType) -> list[Any]:
    return study.read_videos(split(), EMBEDDER)


def test_halves_are_fixed_and_about_equal(study: ModuleType) -> None:
    halves = [study.half_of(f"video{n}") for n in range(200)]
    assert halves == [study.half_of(f"video{n}") for n in range(200)]
    assert 70 < halves.count("tuning") < 130
    assert set(halves) == {"tuning", "report"}


def test_videos_are_read_by_halves_and_without_answers_not_at_all(study: ModuleType) -> None:
    whole = split()
    names = {
        half: [v.video_id for v in study.read_videos(whole, EMBEDDER, half=half)]  # type: ignore[arg-type]
        for half in ("tuning", "report", "all")
    }
    assert sorted(names["tuning"] + names["report"]) == sorted(names["all"])
    assert len(names["all"]) == 12
    hidden = replace(whole, choices=tuple(replace(q, answer=None) for q in whole.choices))
    with pytest.raises(InvalidValue, match="videos with captions"):
        study.read_videos(hidden, EMBEDDER)


def test_what_is_lost_is_the_best_caption_of_the_right_option(
    study: ModuleType, videos: list[Any]
) -> None:
    first = videos[0]
    at = int(np.argmax(first.near[0]))
    assert "kettle" in first.captions[at].text
    all_but_it = np.ones(len(first.captions), dtype=np.bool_)
    all_but_it[at] = False
    second = np.sort(first.near[0])[-2]
    got = study.outcome([first], [all_but_it], None)
    assert got.lost[0] == pytest.approx(float(first.near[0].max() - second), abs=1e-6)
    assert got.kept == pytest.approx(23 / 24)
    assert got.right == ()
    assert study.outcome([first], [~all_but_it], Words()).right == (1.0,)
    only_soup = np.zeros(len(first.captions), dtype=np.bool_)
    only_soup[(at + 1) % 24] = True
    assert study.outcome([first], [only_soup], None).top == (float((at + 1) % 24 in top3(first)),)


def top3(one: Any) -> list[int]:
    return np.argsort(-one.near[0], kind="stable")[:3].tolist()


def test_material_holds_the_kept_captions_with_their_times(
    study: ModuleType, videos: list[Any]
) -> None:
    mask = np.zeros(24, dtype=np.bool_)
    mask[[2, 5]] = True
    material = study.evidence_of(videos[1], mask)
    assert [(p.chapter, p.start_s, p.end_s) for p in material.passages] == [
        (2, 2.0, 3.0),
        (5, 5.0, 6.0),
    ]
    assert np.array_equal(material.vectors, videos[1].vectors[[2, 5]])


def test_rules_stand_beside_chance_and_the_good_one_beats_it(
    study: ModuleType, videos: list[Any]
) -> None:
    rows = {row["rule"]: row for row in study.redundancy_rows(videos, Words(), num_draws=4)}
    assert set(rows) == set(study.RULES)
    assert rows["none"]["kept"] == rows["none"]["right"] == rows["none"]["top"] == 1.0
    assert rows["none"]["lost"] == 0.0
    assert "lost_random" not in rows["none"]
    cover = rows["cover 0.95"]
    assert study.RULES["cover 0.95"] == TextualConfig()
    assert cover["kept"] < 0.2
    assert cover["right"] == 1.0
    assert cover["lost"] == 0.0
    assert cover["lost_gain"] < 0 < cover["right_gain"]
    assert cover["lost_gain_interval"][1] < 0
    assert cover["right_random"] < 0.7
    assert (cover["num_questions"], cover["num_videos"]) == (12, 12)


def test_without_a_chooser_no_question_is_asked(study: ModuleType, videos: list[Any]) -> None:
    (row,) = study.redundancy_rows(videos, None, rules={"paper": TextualConfig(policy="paper")})
    assert "right" not in row
    assert 0 <= row["top"] <= 1


# --- ablations


class Study:
    """Takes down the settings that it is asked to build with."""

    def __init__(self) -> None:
        self.configs: list[tuple[str, Config]] = []

    def config(self) -> Config:
        return Config()

    def row(self, name: str, config: Config) -> dict[str, Any]:
        self.configs.append((name, config))
        return {"name": name, "accuracy": 0.5 + 0.01 * len(self.configs), "R1@0.5": 0.25}


def test_table_xii_reduces_frames_chapters_and_both_beside_random_drop(tables: ModuleType) -> None:
    recorder: Any = Study()
    rows = tables.table_xii(recorder, rules=("paper", "cover"), num_draws=2)
    assert [row["name"] for row in rows[:3]] == [
        "none", "visual paper", "visual random, as many as paper",
    ]  # fmt: skip
    assert len(rows) == 1 + 2 * 3 * 2
    seen = [(name, c.visual.policy, c.textual.policy) for name, c in recorder.configs]
    assert seen[0] == ("none", "none", "none")
    assert ("visual cover", "cover", "none") in seen
    assert ("textual cover", "none", "cover") in seen
    assert ("both paper", "paper", "paper") in seen
    drawn = [c for name, c in recorder.configs if name == "draw"]
    assert len(drawn) == 2 * 3 * 2
    assert {(c.visual.policy, c.textual.policy) for c in drawn} == {
        ("random", "none"), ("none", "random"), ("random", "random"),
    }  # fmt: skip
    assert {c.visual.seed for c in drawn if c.visual.policy == "random"} == {0, 1}
    assert {c.visual.like for c in drawn if c.visual.policy == "random"} == {"paper", "cover"}
    both = rows[-1]
    assert both["accuracy_min"] < both["accuracy"] < both["accuracy_max"]


def test_tables_xix_and_xi_change_one_setting_each(tables: ModuleType) -> None:
    recorder: Any = Study()
    assert [row["name"] for row in tables.table_xix(recorder, numbers=(4, 16))] == [
        "4 frames",
        "16 frames",
    ]
    assert [c.sample.num_frames_per_clip for _, c in recorder.configs] == [4, 16]
    recorder.configs.clear()
    assert [row["name"] for row in tables.table_xi(recorder)] == ["keyframes", "scenes", "fixed"]
    assert [c.cut.method for _, c in recorder.configs] == ["keyframes", "scenes", "fixed"]
    assert all(replace(c, cut=Config().cut) == Config() for _, c in recorder.configs)


def test_table_xviii_has_a_row_for_every_rule_and_memory(
    tables: ModuleType, videos: list[Any]
) -> None:
    rows = tables.table_xviii(videos, None, memories=(1, 35), rules=("paper", "cover"), num_draws=2)
    assert [row["rule"] for row in rows] == [
        "paper, memory 1", "paper, memory 35", "cover, memory 1", "cover, memory 35",
    ]  # fmt: skip
    assert rows[2]["kept"] > rows[3]["kept"]


def test_table_xvii_gives_so_many_chapters_with_and_without_story(
    tables: ModuleType, videos: list[Any]
) -> None:
    chooser = Words()
    rows = tables.table_xvii(videos, chooser, EMBEDDER, numbers=(0, 3))
    assert [row["name"] for row in rows] == [
        "0 chapters, with story",
        "3 chapters, with story",
        "3 chapters, without story",
        "all chapters, without story",
    ]
    with_story, without, everything = chooser.seen[12], chooser.seen[24], chooser.seen[36]
    assert len(without.passages) == 3
    assert [p.start_s for p in without.passages] == sorted(p.start_s for p in without.passages)
    assert with_story.passages[-3:] == without.passages
    assert with_story.story == tuple(p.text for p in with_story.passages[:-3])
    assert len(with_story.vectors) == len(with_story.passages)
    assert len(everything.passages) == 24
    assert rows[-1]["right"] == 1.0
    assert rows[2]["num_passages"] == 3.0


def test_the_real_files_of_egoschema_can_be_measured(study: ModuleType, data_dir: Path) -> None:
    from fdvs.datasets.registry import load_split

    whole = load_split("egoschema", data_dir / "egoschema", allow_partial=True)
    some = replace(whole, video_ids=whole.video_ids[:6])
    found = study.read_videos(some, EMBEDDER)
    assert len(found) == 6
    assert {len(one.captions) for one in found} == {180}
    rows = study.redundancy_rows(
        found, None, rules={"cover": TextualConfig(policy="cover")}, num_draws=2
    )
    assert 0 < rows[0]["kept"] < 1

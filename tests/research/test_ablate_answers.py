"""The ablation of answers: rows of invented videos whose right answers are known."""

from __future__ import annotations

import csv
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fdvs.datasets.examples import Caption, ChoiceQuestion, Split
from fdvs.models.scripted import HashTextEmbedder, ScriptedLanguageModel
from fdvs.pipelines.evaluation.choice import sample_of

ANIMALS = ("dog", "cat", "horse", "duck")


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/ablate_answers.py")


def split() -> Split:
    """Four videos, each of one animal that its captions name once among empty ones."""
    captions, choices = {}, []
    for place, animal in enumerate(ANIMALS):
        texts = ["a room with a lamp", "a wall and a door", f"the {animal} sleeps", "a dark room"]
        captions[f"v{place}"] = tuple(
            Caption(start_s=s, end_s=s + 1, text=text) for s, text in enumerate(texts)
        )
        choices.append(
            ChoiceQuestion(
                id=f"q{place}",
                video_id=f"v{place}",
                question="which animal sleeps",
                options=ANIMALS,
                answer=place,
            )
        )
    return Split(
        dataset="made",
        name="made",
        is_partial=False,
        video_ids=tuple(captions),
        choices=tuple(choices),
        captions=captions,
        expected={},
    )


def test_a_sampled_split_says_so_in_its_name(script: ModuleType) -> None:
    whole = split()
    assert script.sampled(whole, None) is whole
    assert script.sampled(whole, 99) is whole
    few = script.sampled(whole, 3)
    assert "sample of 3 questions" in few.name
    assert few.is_partial
    taken = sample_of(whole.choices, 3)
    assert list(few.choices) == [one for one in whole.choices if one in taken]


def test_evidence_rows_hold_every_way_of_answering_and_every_rule(script: ModuleType) -> None:
    rows = list(script.evidence_rows(split(), HashTextEmbedder()))
    by_name = {(row["what"], row["name"]): row for row in rows}
    assert [row["name"] for row in rows if row["what"] == "redundancy"] == list(script.RULES)
    assert by_name["evidence", "all chapters, without story"]["right"] == 1.0
    assert by_name["redundancy", "none"]["kept"] == 1.0
    ours = by_name["redundancy", "cover 0.95"]
    assert ours["right"] == 1.0  # no caption says what another says
    assert ours["num_questions"] == ours["num_videos"] == len(ANIMALS)
    assert {row["num_questions"] for row in rows} == {len(ANIMALS)}


def test_attention_rows_ask_every_reader_with_all_captions(script: ModuleType) -> None:
    readers = {
        name: ScriptedLanguageModel([], name=f"/home/of/{name}") for name in ("full", "window")
    }
    rows = list(script.attention_rows(split(), HashTextEmbedder(), iter(readers.items())))
    assert [(row["name"], row["num_questions"]) for row in rows] == [("full", 4), ("window", 4)]
    assert [row["model"].startswith(row["name"]) for row in rows] == [True, True]  # no folder
    assert rows[0]["right"] == 1.0  # it finds the option likelier whose words the prompt holds
    for reader in readers.values():
        told = [text for _, text in reader.read_texts if "sleeps" in text]
        assert len(told) == 4
        assert all("dark room" in text and "lamp" in text for text in told)


@pytest.mark.parametrize(
    ("given", "chosen"), [([], ["full", "dga", "window"]), (["--attention", "dga"], ["dga"])]
)
def test_the_attentions_and_the_model_to_be_read_with_can_be_chosen(
    script: ModuleType, given: list[str], chosen: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = script._options(
        ["--data", "d", "--csv", "c", "--llm", "m.gguf", "--dtype", "bfloat16", *given]
    )
    made: list[tuple[str, str, str]] = []
    enabled: list[object] = []

    def parts(config: Any) -> Namespace:
        made.append((config.models.llm, config.models.dtype, config.ask.attention))
        return Namespace(llm=Namespace(model=None))

    from fdvs.models.llm import attention

    monkeypatch.setattr(script, "ModelSet", parts)
    monkeypatch.setattr(attention, "enable", lambda model, config: enabled.append(config))
    assert [name for name, _ in script.readers(options)] == chosen
    kinds = ["sdpa" if name == "full" else "dga" for name in chosen]
    assert [one[1:] for one in made] == [("bfloat16", kind) for kind in kinds]
    assert all("m.gguf" in one[0] for one in made)
    wanted = {"dga": script.GROUPED, "window": script.WINDOW}
    assert enabled == [wanted[name] for name in chosen if name in wanted]


def test_rows_are_appended_as_they_come_under_one_header(
    script: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    script.csv_rows.append(
        [script._plain({"name": "a", "right": 0.5, "right_interval": (0.25, 0.75), "rule": "x"})],
        path,
        script.COLUMNS,
    )
    script.csv_rows.append([script._plain({"name": "b"})], path, script.COLUMNS)
    with path.open() as file:
        found = list(csv.DictReader(file))
    assert [row["name"] for row in found] == ["a", "b"]
    assert found[0]["right_interval"] == "0.2500 to 0.7500"
    assert "rule" not in found[0]

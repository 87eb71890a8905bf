"""Cards: complete, checked, and the only source of a split's counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.datasets.cards import card_from, card_names, load_card, published_for
from fdvs.datasets.registry import DATASETS, load_split
from fdvs.errors import ConfigError, UnknownName

GOOD: dict[str, Any] = {
    "title": "T", "about": "a", "task": "open", "rows": ["r"], "folders": ["t"], "source": "s",
    "licence": "l", "metric": "m", "comparable": "c", "version": 1, "changes": {1: "first"},
    "default_split": "val",
    "splits": {"val": {"label": "val", "videos": 1, "records": 2, "files": {"q": ["q.json"]}}},
    "published": [{"row": "r", "source": "p", "not_comparable": "other", "systems": {
        "S": {"percent": {"R@1": 14.5}, "points": {"judge": 3.3}}, "Z": {"percent": {"R@1": 0}}}}],
}  # fmt: skip


def test_every_dataset_has_a_card_and_every_card_a_loader() -> None:
    assert card_names() == sorted(DATASETS)


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_a_card_says_everything(name: str) -> None:
    card = DATASETS[name].card
    for text in (card.title, card.about, card.source, card.licence, card.metric, card.comparable):
        assert len(text) > 5 or text == card.title
    assert "https://" in card.source
    assert all(folder.isidentifier() for folder in card.folders)
    for split in card.splits.values():
        assert 0 < split.videos <= split.records
        assert split.files
        assert all(names for names in split.files.values())
        assert bool(split.captions) == ("captions" in split.files)


def test_the_eight_rows_of_the_paper_have_a_dataset() -> None:
    rows = {row for name in DATASETS for row in load_card(name).rows}
    assert rows >= {
        "prvr-activitynet", "prvr-charades", "retrieval-activitynet", "retrieval-msrvtt",
        "msrvtt-qa", "activitynet-qa", "egoschema", "nextqa",
    }  # fmt: skip


def test_an_unknown_dataset_is_answered_with_near_names() -> None:
    for ask in (load_card, lambda name: load_split(name, Path())):
        with pytest.raises(UnknownName, match="Did you mean egoschema"):
            ask("egoshema")


def test_a_good_card_is_read_and_percent_become_fractions() -> None:
    card = card_from("t", GOOD)
    assert card.split().records == 2
    assert card.published[0].scores == {"R@1": 0.145}
    assert card.published[0].points == {"judge": 3.3}
    assert [entry.system for entry in card.published] == ["S", "Z"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"colour": 1}, "unknown field 'colour'"),
        ({"task": "sing"}, "task is 'sing'; allowed: choice, open"),
        ({"version": 2}, "version 2 has no entry in changes"),
        ({"default_split": "test"}, "unknown split 'test'"),
        ({"title": None}, "are missing: title$"),
        ({"splits": {"val": {"label": "val"}}}, "missing: videos, records, files"),
        ({"splits": {"val": {"size": 1}}}, "unknown field 'size'"),
        ({"published": [{**GOOD["published"][0], "row": "x"}]}, "published row 'x'"),
        ({"published": [{"row": "r", "systems": {"S": {"percent": {"R@1": 140}}}}]}, "S: R@1 140"),
        ({"published": [{"row": "r", "systems": {"S": {}}}]}, "missing: source, not_comparable"),
    ],
)
def test_a_wrong_card_is_an_error(changes: dict[str, Any], said: str) -> None:
    values = {key: value for key, value in (GOOD | changes).items() if value is not None}
    with pytest.raises(ConfigError, match=said):
        card_from("t", values)


@pytest.mark.parametrize("name", ["egoschema", "nextqa"])
def test_load_split_can_leave_captions_out(tiny: Callable[[str], Any], name: str) -> None:
    made = tiny(name)
    assert made.load().captions
    split = load_split(name, made.folder, allow_partial=True, with_captions=False)
    assert split.captions == {}
    assert split.name.endswith(f"(partial, {made.records} of {split.expected['records']})")


def test_load_split_passes_split_and_permission_on(tiny: Callable[[str], Any]) -> None:
    made = tiny("activitynet_qa")
    made.write()
    for file in ("q", "a"):
        (made.folder / f"test_{file}.json").rename(made.folder / f"val_{file}.json")
    split = load_split(
        "activitynet_qa", made.folder, split="val", allow_partial=True, with_captions=False
    )
    assert split.name == "activitynet_qa val (partial, 2 of 18000)"


def test_the_papers_own_score_stands_first_among_its_rows() -> None:
    assert published_for("egoschema")[0].scores == {"accuracy": 0.424}
    assert published_for("prvr-activitynet")[0].scores == {"R@1": 0.14, "R@5": 0.325, "R@10": 0.439}
    for row in ("prvr-charades", "retrieval-activitynet", "retrieval-msrvtt", "msrvtt-qa",
                "activitynet-qa", "nextqa"):  # fmt: skip
        assert published_for(row)[0].system == "FDVS (paper)"


def test_a_systems_name_stands_once_in_a_row() -> None:
    for row in {row for name in DATASETS for row in load_card(name).rows}:
        names = [entry.system for entry in published_for(row)]
        assert len(names) == len(set(names))


def test_published_scores_are_fractions_with_a_source() -> None:
    assert published_for("no such row") == ()
    for name in DATASETS:
        for entry in load_card(name).published:
            assert entry in published_for(entry.row)
            assert entry.source
            assert entry.not_comparable
            assert entry.scores or entry.points
            assert all(0 <= score <= 1 for score in entry.scores.values())

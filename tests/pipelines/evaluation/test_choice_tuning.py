"""Cross-validation by video: no question is scored by settings that saw its video."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fdvs.answers.choice.background import Background
from fdvs.answers.choice.choice_settings import ChoiceSettings
from fdvs.answers.evidence import Passage, make_material
from fdvs.datasets.examples import ChoiceQuestion
from fdvs.errors import InvalidValue
from fdvs.models.scripted import HashTextEmbedder
from fdvs.pipelines.evaluation.choice_tuning import (
    BLIND_SHARES,
    LLM_WEIGHTS,
    MEANING_WEIGHTS,
    NUM_FOLDS,
    STATEMENT_WEIGHTS,
    candidates,
    combined_rights,
    cross_validated,
    evidence_rights,
    fold_of,
    named,
)

VIDEOS = [f"video {n}" for n in range(200)]
FOLDS = np.array([fold_of(video) for video in VIDEOS])


def test_all_folds_are_used_and_a_video_keeps_its_fold() -> None:
    assert set(FOLDS.tolist()) == set(range(NUM_FOLDS))
    assert fold_of("video 7") == FOLDS[7]


def test_a_candidate_that_is_right_only_in_a_fold_is_never_chosen_for_it() -> None:
    """`own k` is right in fold k alone: chosen on the others it is worthless there."""
    rights = {f"own {fold}": fold == FOLDS for fold in range(NUM_FOLDS)}
    found = cross_validated({"data": rights}, {"data": VIDEOS})["data"]
    assert not found.right.any()


def test_the_best_candidate_elsewhere_is_scored_here() -> None:
    rights = {"bad": np.zeros(200, dtype=bool), "good": np.ones(200, dtype=bool)}
    found = cross_validated({"data": rights}, {"data": VIDEOS})["data"]
    assert found.right.all()
    assert found.chosen == ("good",) * NUM_FOLDS


def test_datasets_weigh_the_same_whatever_their_size() -> None:
    few = VIDEOS[:20]
    rights = {
        "large": {"a": np.arange(200) % 10 < 6, "b": np.arange(200) % 10 < 5},
        "small": {"a": np.arange(20) % 10 < 3, "b": np.arange(20) % 10 < 6},
    }
    found = cross_validated(rights, {"large": VIDEOS, "small": few})
    assert set(found["large"].chosen) == {"b"}


def test_datasets_need_the_same_candidates() -> None:
    rights = {"one": {"a": np.ones(200, dtype=bool)}, "two": {"b": np.ones(200, dtype=bool)}}
    with pytest.raises(InvalidValue, match="the same for every dataset"):
        cross_validated(rights, {"one": VIDEOS, "two": VIDEOS})


def test_the_committed_settings_come_first_and_others_differ_in_one_number() -> None:
    first, *others = candidates()
    assert first == ChoiceSettings()
    assert named(first) == "as committed"
    assert all("," not in named(one) for one in others)
    assert len({named(one) for one in others}) == len(others)


def question(place: int) -> ChoiceQuestion:
    return ChoiceQuestion(
        id=str(place), video_id=str(place), question="what is there",
        options=("a red kettle", "a blue violin"), answer=place,
    )  # fmt: skip


def test_the_evidence_is_scored_under_each_weight_of_meaning_and_statement() -> None:
    embedder = HashTextEmbedder()

    def material_of(one: ChoiceQuestion) -> Any:
        text = one.options[one.answer or 0]
        passage = Passage(video_id="v", name="v", chapter=0, start_s=0, end_s=1, text=text)
        return make_material([passage], embedder)

    rights = evidence_rights(
        [question(0), question(1)], material_of, embedder, Background(), [ChoiceSettings()]
    )
    assert len(rights) == len(MEANING_WEIGHTS) * len(STATEMENT_WEIGHTS)
    assert "as committed" in rights
    assert all(right.tolist() == [True, True] for right in rights.values())


def test_weights_of_the_language_model_are_scored_from_predictions() -> None:
    parts = {
        "words": [0.1, 0.0], "meaning": [0.0, 0.0], "llm": [0.0, 0.0],
        "with_evidence": [-20.0, -4.0], "blind": [-4.0, -4.0], "tokens": [4.0, 4.0],
    }  # fmt: skip
    short = {"words": [0.1, 0.0], "meaning": [0.0, 0.0]}
    records = {"1": {"parts": parts}, "0": {"parts": short}}
    rights = combined_rights([question(1), question(0)], records)
    assert len(rights) == len(LLM_WEIGHTS) * len(BLIND_SHARES)
    assert rights["llm_weight 0"].tolist() == [False, True]
    assert rights["as committed"].tolist() == [True, True]

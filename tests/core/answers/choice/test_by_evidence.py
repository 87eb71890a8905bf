"""Passages at the time that a question names fit better, by construction of their times."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fdvs.answers.choice.by_evidence import time_fit, video_shares
from fdvs.answers.evidence import Passage
from fdvs.answers.question import Position, Question, Relation


def passage(start_s: float, video_id: str = "v") -> Passage:
    return Passage(
        video_id=video_id, name=video_id, chapter=int(start_s), start_s=start_s,
        end_s=start_s + 1, text="x",
    )  # fmt: skip


def asked(relation: Relation = "", anchor: str = "", position: Position = "") -> Question:
    return replace(Question.of("x"), relation=relation, anchor=anchor, position=position)


FIVE = [passage(float(second)) for second in range(5)]
ANCHOR_AT_2 = np.array([0.1, 0.2, 0.9, 0.3, 0.1])


def test_a_question_without_time_prefers_no_passage() -> None:
    assert not time_fit(asked(), FIVE, None).any()


def test_after_takes_what_starts_later_and_not_the_event_itself() -> None:
    fit = time_fit(asked(relation="after", anchor="y"), FIVE, ANCHOR_AT_2)
    assert fit.tolist() == [0, 0, 0, 1, 1]


def test_before_takes_what_starts_earlier() -> None:
    fit = time_fit(asked(relation="before", anchor="y"), FIVE, ANCHOR_AT_2)
    assert fit.tolist() == [1, 1, 0, 0, 0]


def test_at_takes_the_event_first_and_its_neighbours_next() -> None:
    fit = time_fit(asked(relation="at", anchor="y"), FIVE, ANCHOR_AT_2)
    assert np.argmax(fit) == 2
    assert fit[1] == pytest.approx(fit[3])
    assert fit[0] < fit[1] < fit[2]


@pytest.mark.parametrize(("position", "best"), [("start", 0), ("middle", 2), ("end", 4)])
def test_positions_prefer_their_part(position: str, best: int) -> None:
    fit = time_fit(asked(position=position), FIVE, None)  # type: ignore[arg-type]
    assert int(np.argmax(fit)) == best
    assert 0 <= fit.min() <= fit.max() <= 1


def test_an_event_says_nothing_about_other_videos() -> None:
    passages = [*FIVE, passage(9.0, "other")]
    near = np.append(ANCHOR_AT_2, 0.0)
    fit = time_fit(asked(relation="after", anchor="y"), passages, near)
    assert fit[-1] == 0


def test_shares_are_of_each_video_apart() -> None:
    shares = video_shares([passage(0.0), passage(3.0), passage(0.0, "w")])
    assert shares.tolist() == pytest.approx([0.125, 0.875, 0.5])


def test_a_video_without_length_lies_at_its_start() -> None:
    still = Passage(video_id="v", name="v", chapter=0, start_s=0.0, end_s=0.0, text="x")
    assert video_shares([still]).tolist() == [0.0]

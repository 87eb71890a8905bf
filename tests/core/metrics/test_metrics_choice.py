"""Accuracy of multiple choice: the official groups, what is unread, and reading free words."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from fdvs.errors import InvalidValue
from fdvs.metrics.choice import (
    NEXTQA_GROUPS,
    accuracy,
    accuracy_by,
    is_right,
    nextqa_accuracy,
)
from fdvs.metrics.extract import Rule, chosen_option

OPTIONS = ("cutting wood", "washing a cat", "washing a black cat", "sleep", "a boat")


def test_an_unread_answer_is_wrong_and_counted() -> None:
    found = accuracy([0, None, 2, 1], [0, 1, 2, 3])
    assert (found.num_right, found.num_questions, found.num_unread) == (2, 4, 1)
    assert found.value == 0.5
    assert is_right([0, None, 2, 1], [0, 1, 2, 3]).tolist() == [1, 0, 1, 0]


def test_accuracy_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score

    rng = np.random.default_rng(3)
    chosen, answers = rng.integers(5, size=200).tolist(), rng.integers(5, size=200).tolist()
    assert accuracy(chosen, answers).value == pytest.approx(accuracy_score(answers, chosen))


def test_no_question_scores_nothing() -> None:
    assert accuracy([], []).value == 0.0


def test_nextqa_groups_count_previous_as_next_and_pool_as_the_official_script_does() -> None:
    kinds = ["CW", "CW", "CH", "TN", "TP", "TC", "DC", "DL", "DO"]
    chosen = [0, 1, 0, 0, 1, 0, 0, 1, None]
    found = nextqa_accuracy(chosen, [0] * 9, kinds)
    assert list(found) == list(NEXTQA_GROUPS)
    values = {group: (one.num_right, one.num_questions) for group, one in found.items()}
    assert values == {
        "Why": (1, 2),
        "How": (1, 1),
        "Bef&Aft": (1, 2),
        "When": (1, 1),
        "Cnt": (1, 1),
        "Loc": (0, 1),
        "Other": (0, 1),
        "Acc_C": (2, 3),
        "Acc_T": (2, 3),
        "Acc_D": (1, 3),
    }
    assert found["Other"].num_unread == 1


def test_nextqa_groups_without_questions_are_left_out() -> None:
    assert list(nextqa_accuracy([1], [1], ["TP"])) == ["Bef&Aft", "Acc_T"]


def test_an_unknown_kind_of_nextqa_is_an_error() -> None:
    with pytest.raises(InvalidValue, match="'XX'; allowed: CH, CW"):
        nextqa_accuracy([1], [1], ["XX"])


def test_groups_are_the_kinds_themselves_if_nothing_else_is_said() -> None:
    found = accuracy_by([0, 1, 0], [0, 0, 0], ["b", "a", "b"])
    assert {kind: one.value for kind, one in found.items()} == {"b": 1.0, "a": 0.0}


@pytest.mark.parametrize(
    "call",
    [
        lambda: accuracy([1], [1, 2]),
        lambda: accuracy_by([1, 2], [1, 2], ["a"]),
    ],
)
def test_lists_of_other_lengths_are_refused(call: object) -> None:
    with pytest.raises(InvalidValue, match="one a question"):
        call()  # type: ignore[operator]


@pytest.mark.parametrize("rule", ["strict", "lenient"])
@pytest.mark.parametrize(
    ("reply", "place"),
    [("C", 2), (" c.\n", 2), ("(D)", 3), ("**B**", 1), ("A:", 0), ("`E`", 4), ("Z", None)],
)
def test_a_letter_alone_is_read_by_both_rules(rule: Rule, reply: str, place: int | None) -> None:
    assert chosen_option(reply, OPTIONS, rule=rule) == place


@pytest.mark.parametrize(
    ("reply", "place"),
    [
        ("The answer is (B).", 1),
        ("Answer: D", 3),
        ("I would choose option E because of the water.", 4),
        ("The correct answer is: **C** washing a black cat", 2),
        ("B) washing a cat", 1),
        ("D. sleep", 3),
        ("(C) since it is black", 2),
        ("Looking at the video, it must be [D]", 3),
        ("He is washing a black cat.", 2),
        ("A man washing a cat", 1),
        ("They SLEEP!", 3),
        ("Considering everything, D seems right", 3),
        ("It is not B but D", 3),
        ("Not (A), so the answer is E", 4),
    ],
)
def test_lenient_reads_what_strict_leaves(reply: str, place: int) -> None:
    assert chosen_option(reply, OPTIONS, rule="strict") is None
    assert chosen_option(reply, OPTIONS, rule="lenient") == place


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "I cannot tell from the captions.",
        "(B) or (C)",
        "The answer is B. No, the answer is C.",
        "Either cutting wood or sleep",
        "A man is in a garden and I like it",
        "None of the above",
        "The answer is (F)",
        "3",
        "It is not C",
        "Answering this is hard",
        "D's and B's",
    ],
)
def test_what_chooses_nothing_or_two_is_unread(reply: str) -> None:
    assert chosen_option(reply, OPTIONS, rule="lenient") is None


def test_only_the_start_of_a_long_reply_is_read() -> None:
    assert chosen_option("word " * 1000 + " answer: B", OPTIONS, rule="lenient") is None


@pytest.mark.parametrize("num_options", [1, 27])
def test_the_number_of_options_is_bounded(num_options: int) -> None:
    with pytest.raises(InvalidValue, match="2 to 26"):
        chosen_option("A", ["x"] * num_options, rule="strict")


def test_equal_options_cannot_be_told_apart_by_their_text() -> None:
    assert chosen_option("a boat", ["a boat", "a boat"], rule="lenient") is None


@given(reply=st.text(max_size=300), rule=st.sampled_from(["strict", "lenient"]))
@example_settings(max_examples=150, deadline=None)
def test_any_reply_gives_a_place_or_none(reply: str, rule: Rule) -> None:
    found = chosen_option(reply, OPTIONS, rule=rule)
    assert found is None or 0 <= found < len(OPTIONS)
    strict = chosen_option(reply, OPTIONS, rule="strict")
    if strict is not None:
        assert chosen_option(reply, OPTIONS, rule="lenient") == strict


@pytest.mark.parametrize(
    "reply",
    ["answer" + " " * 4000, "not " * 1000, "(" * 4000, "answer is " * 400, "A" + ")" * 3998 + "x",
     "B\n" * 2000, "answer is" * 440, "( " * 2000],
    ids=lambda reply: repr(reply[:12]),
)  # fmt: skip
def test_no_reply_takes_long(reply: str) -> None:
    start_s = time.monotonic()
    chosen_option(reply, OPTIONS, rule="lenient")
    assert time.monotonic() - start_s < 0.5

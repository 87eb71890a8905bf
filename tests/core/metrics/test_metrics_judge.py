"""The judge rule: what is read, and the traps of the official counting, pinned."""

from __future__ import annotations

import ast
import warnings

import pytest

from fdvs.metrics.judge import Judgement, judge_report, parse_judgement


@pytest.mark.parametrize(
    ("reply", "pred", "score"),
    [
        ("{'pred': 'yes', 'score': 4.8}", "yes", 4.8),
        ('{"pred": "no", "score": 0}', "no", 0.0),
        ("  {'score': '4', 'pred': 'Yes'}\n", "Yes", 4.0),
        ("{'pred': 'maybe', 'score': 3, 'why': 'close'}", "maybe", 3.0),
        ("{'pred': '', 'score': 5}", "", 5.0),
    ],
)
def test_a_dictionary_is_read_as_it_stands(reply: str, pred: str, score: float) -> None:
    assert parse_judgement(reply) == Judgement(pred=pred, score=score)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "yes",
        "Sure! {'pred': 'yes', 'score': 5}",
        "```python\n{'pred': 'yes', 'score': 5}\n```",
        "{'pred': 'yes'}",
        "{'pred': yes, 'score': 5}",
        "{'pred': True, 'score': 5}",
        "{'pred': 'yes', 'score': None}",
        "{'pred': 'yes', 'score': True}",
        "{'pred': 'yes', 'score': 'high'}",
        "{'pred': 'yes', 'score': 1e999}",
        "{'pred': 'yes', 'score': 'nan'}",
        "{'pred': 'yes', 'score': 48}",
        "{'pred': 'yes', 'score': -1}",
        "{'pred': 'yes', 'score': " + "9" * 400 + "}",
        "[{'pred': 'yes', 'score': 5}]",
        "{['pred']: 'yes'}",
        "{'pred': 'yes', 'score': 5}" + " " * 500,
        "{'pred': '" + "yes" * 50 + "', 'score': 5}",
        "(" * 400,
        "-" * 400 + "1",
        "\x00",
        "__import__('os').system('true')",
        "{'pred': 'yes', 'score': int(5)}",
    ],
)
def test_anything_else_is_unread(reply: str) -> None:
    assert parse_judgement(reply) is None


def test_reading_says_nothing_to_the_terminal() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert parse_judgement(r"{'pred': 'yes\d', 'score': 5}") is not None


REPLIES = [
    "{'pred': 'yes', 'score': 4.8}",
    "{'pred': 'Yes', 'score': 5}",
    "{'pred': 'no', 'score': 1}",
    "{'pred': 'unknown', 'score': 2}",
    "{'pred': 'perhaps', 'score': 3.5}",
    "{'pred': 'no, not yes', 'score': 0}",
]


def official_counting(replies: list[str]) -> tuple[float, float]:
    """The published definition, on replies that all parse."""
    read = [ast.literal_eval(reply) for reply in replies]
    scores = [int(one["score"]) for one in read]
    yes = sum("yes" in one["pred"].lower() for one in read)
    no = sum("no" in one["pred"].lower() and "yes" not in one["pred"].lower() for one in read)
    return yes / (yes + no), sum(scores) / len(read)


def test_the_official_numbers_come_out_on_replies_that_all_parse() -> None:
    report = judge_report([parse_judgement(reply) for reply in REPLIES])
    found = (report.official.accuracy, report.official.mean_score)
    assert found == official_counting(REPLIES)


def test_the_traps_of_the_official_counting() -> None:
    report = judge_report([*(parse_judgement(reply) for reply in REPLIES), None, None])
    # 4.8 counts as 4; "unknown" is a no; "no, not yes" is a yes; "perhaps" is in the mean only
    assert (report.official.num_yes, report.official.num_no) == (3, 2)
    assert report.official.accuracy == 3 / 5
    assert report.official.mean_score == (4 + 5 + 1 + 2 + 3 + 0) / 6
    assert (report.num_asked, report.num_unread, report.num_neither) == (8, 2, 1)
    assert report.num_fractions == 2


def test_counted_keeps_every_question_and_every_tenth_of_a_score() -> None:
    report = judge_report([*(parse_judgement(reply) for reply in REPLIES), None, None])
    assert (report.counted.num_yes, report.counted.num_no) == (2, 6)
    assert report.counted.accuracy == 2 / 8
    assert report.counted.mean_score == pytest.approx((4.8 + 5 + 1 + 2 + 3.5 + 0) / 8)


def test_a_judge_that_is_never_readable_has_no_official_number() -> None:
    report = judge_report([None, None])
    assert (report.official.accuracy, report.official.mean_score) == (None, None)
    assert (report.counted.accuracy, report.counted.mean_score) == (0.0, 0.0)


def test_nothing_asked_is_nothing_counted() -> None:
    report = judge_report([])
    assert report.counted.accuracy is None
    assert report.counted.mean_score is None


def test_only_neither_words_leave_the_official_accuracy_open() -> None:
    report = judge_report([Judgement(pred="maybe", score=2.0)])
    assert (report.official.accuracy, report.official.mean_score) == (None, 2.0)

"""When quotes are said: all sentences of a quote with times of their own, or the chapter's time."""

from __future__ import annotations

import pytest

from fdvs.answers.said_times import said_span

SAID = [
    ("The tide comes in.", (1.0, 3.0)),
    ("It goes out again.", (3.0, 5.5)),
    ("It goes.", (7.0, 8.0)),
]


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ("“The tide comes in.”", (1.0, 3.0)),
        ("“It goes out again.”", (3.0, 5.5)),  # not the shorter sentence that it begins with
        ("“The tide comes in. It goes out again.”", (1.0, 5.5)),
        ("“It goes.”", (7.0, 8.0)),
        ("“Tides. The tide comes in.”", None),  # a heading besides
        ("“The tide comes.”", None),
        ("“On screen: tide.”", None),
    ],
)
def test_a_quote_has_the_time_of_its_sentences(
    quote: str, expected: tuple[float, float] | None
) -> None:
    assert said_span(quote, SAID) == expected


def test_nothing_is_known_without_sentences() -> None:
    assert said_span("“The tide comes in.”", []) is None

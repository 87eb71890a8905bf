"""When sentences are said: lines whose times are given, and letters between."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.story.observations import arrange
from fdvs.story.said import Said, said_sentences
from fdvs.types import Observation


def line(text: str, start_s: float, end_s: float, source: str = "subtitles") -> Observation:
    return Observation(source=source, text=text, start_s=start_s, end_s=end_s)


def test_sentences_of_speech_keep_their_times() -> None:
    lines = [line("The tide comes in.", 1.5, 3.25, "speech"), line("It goes.", 4, 5, "speech")]
    assert said_sentences(arrange(lines)) == [
        Said(text="The tide comes in.", start_s=1.5, end_s=3.25),
        Said(text="It goes.", start_s=4, end_s=5),
    ]


def test_a_sentence_over_three_lines_lasts_from_the_first_to_the_last() -> None:
    lines = [line("the moon pulls", 10, 12), line("the water", 12, 13), line("up.", 14, 15)]
    (only,) = said_sentences(arrange(lines))
    assert only == Said(text="The moon pulls the water up.", start_s=10, end_s=15)


def test_two_sentences_in_one_line_share_its_time_by_letters() -> None:
    first, second = said_sentences(arrange([line("Aaaa bbbb. Cccc dddd.", 100, 121)]))
    assert (first.start_s, first.end_s) == (100, 110)
    assert (second.start_s, second.end_s) == (111, 121)


def test_a_sentence_that_ends_inside_the_next_line_ends_there() -> None:
    lines = [line("One day the sea", 0, 2), line("came. Then it", 2, 15), line("went.", 15, 17)]
    first, second = said_sentences(arrange(lines))
    assert (first.start_s, first.end_s) == (0, 7)  # five letters of thirteen in thirteen seconds
    assert (second.start_s, second.end_s) == (8, 17)


def test_a_line_without_length_still_gives_an_interval() -> None:
    (only,) = said_sentences(arrange([line("Now.", 3, 3)]))
    assert only.start_s == 3
    assert only.end_s > 3


words = st.text("abc", min_size=1, max_size=6)
texts = st.lists(words, min_size=1, max_size=6).map(" ".join)
marks = st.sampled_from(["", ".", "!", "?", ","])


@given(st.lists(st.tuples(texts, marks, st.floats(0.1, 9), st.floats(0, 6)), max_size=8))
def test_times_lie_within_the_lines_and_in_order(
    given_lines: list[tuple[str, str, float, float]],
) -> None:
    lines, now_s = [], 0.0
    for text, mark, length_s, pause_s in given_lines:
        lines.append(line(text + mark, now_s, now_s + length_s))
        now_s += length_s + pause_s
    found = said_sentences(lines)
    for one in found:
        assert 0 <= one.start_s < one.end_s <= now_s + 0.002
    starts = [one.start_s for one in found]
    assert starts == sorted(starts)
    if found:
        assert found[0].start_s == pytest.approx(lines[0].start_s, abs=1e-3)

"""Counts agree with their nouns and verbs; no end is shown behind the film's own length."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fdvs.text.counts import counted, counted_of
from fdvs.text.timecode import citation, end_code, rounded_end_s


def test_counts_agree_with_their_words() -> None:
    assert [counted(n, "video") for n in (0, 1, 2)] == ["0 videos", "1 video", "2 videos"]
    assert counted(1, "entry", "entries") + counted(3, "entry", "entries") == "1 entry3 entries"
    assert counted_of(1, 3, "file", "has", "have") == "1 of 3 files has"
    assert counted_of(1, 1, "file", "has", "have") == "1 of 1 file has"
    assert counted_of(2, 3, "file", "has", "have") == "2 of 3 files have"


@pytest.mark.parametrize(
    ("time_s", "shown"),
    [(19.97, "0:20"), (20.0, "0:20"), (20.04, "0:20"), (20.2, "0:21"), (0.04, "0:01"), (0, "0:00"),
     (59.95, "1:00"), (3600.05, "1:00:00")],
)  # fmt: skip
def test_an_end_is_rounded_up_but_for_a_picture_more(time_s: float, shown: str) -> None:
    assert end_code(time_s) == shown
    assert citation("a.mp4", 0, time_s) == f"[a.mp4 @ 0:00-{shown}]"


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_what_ends_in_a_film_is_shown_to_end_in_it(one_s: float, other_s: float) -> None:
    end_s, length_s = sorted((one_s, other_s))
    assert rounded_end_s(end_s) <= rounded_end_s(length_s)
    assert end_s - 0.1 <= rounded_end_s(end_s) <= end_s + 1

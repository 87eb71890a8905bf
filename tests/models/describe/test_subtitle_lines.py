"""What cues say: every line once, whole sentences where punctuation shows them."""

from __future__ import annotations

import pytest

from fdvs.models.describe.subtitle_files import Cue
from fdvs.models.describe.subtitle_lines import (
    MAX_SENTENCE_CHARS,
    MAX_SENTENCE_S,
    is_telemetry,
    lines_of,
)


def cues(*items: tuple[float, float, str]) -> list[Cue]:
    """Return cues; rows are parted by `|`."""
    return [Cue(start_s=a, end_s=b, rows=tuple(text.split("|"))) for a, b, text in items]


def said(*items: tuple[float, float, str]) -> list[tuple[float, float, str]]:
    return [(line.start_s, line.end_s, line.text) for line in lines_of(cues(*items))]


def test_rows_of_a_cue_are_one_line() -> None:
    assert said((1, 2, "a|b"), (5, 9, "c")) == [(1, 2, "a b"), (5, 9, "c")]


@pytest.mark.parametrize("num_rows", [1, 2])
def test_captions_that_roll_are_told_once_and_begin_when_they_are_new(num_rows: int) -> None:
    words = ["the giraffe", "eats leaves", "near the", "lighthouse", "in the rain"]
    rolled = [
        (2.0 * at, 2.0 * at + 2, "|".join(words[max(0, at - num_rows) : at + 1]))
        for at in range(len(words))
    ]
    assert said(*rolled) == [(2.0 * at, 2.0 * at + 2, word) for at, word in enumerate(words)]


def test_a_short_pause_cue_between_rolling_captions_adds_nothing() -> None:
    assert said((1, 3, "one two"), (3, 3.01, "one two"), (3.01, 5, "one two|three")) == [
        (1, 3.01, "one two"),
        (3.01, 5, "three"),
    ]


def test_captions_that_grow_by_words_are_one_line() -> None:
    got = said((0, 1, "the"), (1, 2, "the giraffe"), (2, 3, "the giraffe eats"), (3, 4, "Then"))
    assert got == [(0, 3, "the giraffe eats"), (3, 4, "Then")]


def test_a_line_shown_again_at_once_has_its_whole_time_and_later_is_said_again() -> None:
    got = said((0, 1, "Help!"), (1, 2, "Help!"), (2.3, 3, "Help!"), (9, 10, "Help!"))
    assert got == [(0, 3, "Help!"), (9, 10, "Help!")]


def test_layers_and_frames_of_one_styled_text_are_one_line() -> None:
    frames = [(0.04 * at, 0.04 * at + 0.04, "SIGN") for at in range(50)]
    layers = [(0.5, 1.5, "The giraffe eats."), (0.5, 1.5, "The giraffe eats.")]
    got = said(*sorted([*frames, *layers]))
    assert [text for _, _, text in got] == ["SIGN", "The giraffe eats."]
    assert got[0][1] == pytest.approx(2.0)


def test_dashes_part_speakers_and_are_taken_off() -> None:
    got = said((1, 2, "- Who is|there?|- Me, well-known."), (3, 4, "- Oh."))
    assert got == [(1, 2, "Who is there?"), (1, 2, "Me, well-known."), (3, 4, "Oh.")]


def test_a_minus_and_a_sentence_taken_up_again_are_no_speakers() -> None:
    assert said((1, 2, "-5 degrees|-7 at night"), (4, 5, "--and on")) == [
        (1, 2, "-5 degrees -7 at night"),
        (4, 5, "--and on"),
    ]


def test_a_sentence_over_three_cues_is_joined() -> None:
    got = said((1, 2, "The giraffe, which"), (2.1, 4, "Anna knew,"), (4, 5, "ate. It slept."))
    assert got == [(1, 5, "The giraffe, which Anna knew, ate. It slept.")]


def test_dots_that_a_sentence_goes_over_are_dropped() -> None:
    assert said((1, 2, "I think..."), (2, 3, "...he sleeps.")) == [(1, 3, "I think he sleeps.")]
    assert len(said((1, 2, "I think..."), (2, 3, "Stop it."))) == 2


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((1, 2, "He sleeps."), (2, 3, "and she reads.")),
        ((1, 2, "He sleeps"), (3.5, 4, "and reads.")),
        ((1, 3, "He sleeps"), (2, 4, "and reads.")),
        ((1, 2, "He sleeps"), (2, 3, "- and reads.")),
        ((1, 2, "He sleeps"), (2, 3, "[door slams] and.")),
        ((1, 2, "HARBOUR"), (2, 3, "and reads.")),
        ((1, 2, "He —"), (2, 3, "and reads.")),
        ((1, 2, "x " * (MAX_SENTENCE_CHARS // 2 - 1) + "y"), (2, 3, "and reads.")),
        ((1, MAX_SENTENCE_S, "He sleeps"), (MAX_SENTENCE_S, 2 * MAX_SENTENCE_S, "and reads.")),
    ],
    ids=[
        "end", "pause", "overlap", "speaker", "aside", "capitals", "broken off", "length", "time",
    ],
)  # fmt: skip
def test_what_may_not_be_one_sentence_is_not_joined(
    first: tuple[float, float, str], second: tuple[float, float, str]
) -> None:
    assert len(said(first, second, (60, 61, "The end."))) == 3


def test_lines_without_punctuation_are_not_joined() -> None:
    lines = [(float(at), at + 1.0, f"word {at}") for at in range(9)]
    assert said(*lines, (9, 10, "The end.")) == [*lines, (9, 10, "The end.")]


def test_overlapping_cues_stay_apart_in_order_of_time() -> None:
    got = said((1, 6, "first"), (2, 4, "second"))
    assert got == [(1, 6, "first"), (2, 4, "second")]


DJI_OLD = "GPS(8.5, 47.3, 19) BAROMETER:22.4|ISO:100 Shutter:60 EV:0 Fnum:F2.8"
DJI_NEW = "FrameCnt: {n}, DiffTime: 33ms|2024-05-01 12:00:{n:02}.123|[iso: 100] [shutter: 1/640.0] [fnum: 2.8] [latitude: 47.3] [longitude: 8.5]"  # noqa: E501
DASHCAM = "2024-05-01 12:00:{n:02}  N47.3712 E8.5417  63 km/h"


@pytest.mark.parametrize("text", [DJI_OLD, DJI_NEW, DASHCAM])
def test_readings_of_a_camera_are_recognised(text: str) -> None:
    shots = [(float(n), n + 1.0, text.format(n=n)) for n in range(20)]
    assert is_telemetry(cues(*shots))
    assert is_telemetry(cues(*shots, (30, 31, "Landed.")))


@pytest.mark.parametrize(
    "text",
    ["One, two, three!", "In 1969, on 20 July, 2 men landed.", "10", "3... 2... 1...", "Room 101"],
)
def test_figures_that_somebody_says_are_no_readings(text: str) -> None:
    assert not is_telemetry(cues(*[(float(n), n + 1.0, text) for n in range(9)], (20, 21, "Go.")))
    assert not is_telemetry([])

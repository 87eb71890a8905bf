"""Subtitle files: what is read, what is refused, and that no input takes long or escapes."""

from __future__ import annotations

import contextlib
import random
import time
from pathlib import Path

import pytest

from fdvs.errors import BadModelOutput
from fdvs.models.describe import subtitle_files
from fdvs.models.describe.subtitle_files import (
    MAX_CUE_CHARS,
    MAX_FILE_BYTES,
    Cue,
    ass_rows,
    guess_format,
    parse_subtitles,
    read_subtitle_file,
)

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> &amp; {\\an8}welcome

2
00:00:03,000 --> 00:00:04,000
The answer is
42

3
00:01:00,250 --> 00:01:01,000
a < b

still cue three
"""
VTT = """WEBVTT - a title

STYLE
::cue { color: red --> }

NOTE
00:01.000 --> 00:02.000
this --> is a comment

intro
00:01.000 --> 00:02.500 align:start position:0%
<v Bob>Hello <00:00:01.500><c.loud>there</c>

chapter two
1:00:03.000 --> 1:00:04.000
It costs
42
"""
ASS = """[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize
Style: Default,Arial,not a number

[Fonts]
fontname: a.ttf
!!!!''%%$$

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,not shown
Dialogue: 0,0:00:01.00,0:00:03.00,Default,,0,0,0,,{\\i1}The giraffe eats{\\i0}\\Nleaves
Dialogue: 0,0:00:xx.00,0:00:03.00,Default,,0,0,0,,lost
Dialogue: 0,0:00:05.00,0:00:06.00,Default,,0,0,0,,{\\k20}ka{\\k30}ra{\\kf10}o{\\k5}ke
Dialogue: 0,0:00:07.00,0:00:08.00,Sign,,0,0,0,,{\\p1}m 0 0 l 10 10{\\p0}
Dialogue: 0,0:00:09.00,0:00:11.00,Default,,0,0,0,,A blue, umbrella\\hstands
"""
MICRODVD = "{1}{1}25.000\n{25}{75}{y:i}The giraffe|eats\n{100}{125}/leaves\n{10}{5}lost\n"
MPL2 = "[10][30]The giraffe|/eats\n[100][125]leaves\n"
SBV = "0:00:01.000,0:00:03.000\nThe giraffe\neats\n\n0:00:10.000,0:00:12.500\nleaves[br]fall\n"
LRC = "[ti:Song]\n[offset:+500]\n[00:01.50]The giraffe\n[00:03.50][01:00]eats <00:04.00>leaves\n"
ORDINARY = {"srt": SRT, "vtt": VTT, "ass": ASS, "microdvd": MICRODVD, "mpl2": MPL2, "sbv": SBV,
            "lrc": LRC}  # fmt: skip


def cue(start_s: float, end_s: float, *rows: str) -> Cue:
    return Cue(start_s=start_s, end_s=end_s, rows=rows)


@pytest.mark.parametrize(
    ("text", "cues", "num_bad"),
    [
        (
            SRT,
            [
                cue(1, 2.5, "Hello & welcome"),
                cue(3, 4, "The answer is", "42"),
                cue(60.25, 61, "a < b", "still cue three"),
            ],
            0,
        ),
        (VTT, [cue(1, 2.5, "Hello there"), cue(3603, 3604, "It costs", "42")], 0),
        (
            ASS,
            [
                cue(1, 3, "The giraffe eats", "leaves"),
                cue(5, 6, "karaoke"),
                cue(9, 11, "A blue, umbrella stands"),
            ],
            1,
        ),
        (MICRODVD, [cue(1, 3, "The giraffe", "eats"), cue(4, 5, "leaves")], 1),
        (MPL2, [cue(1, 3, "The giraffe", "eats"), cue(10, 12.5, "leaves")], 0),
        (SBV, [cue(1, 3, "The giraffe", "eats"), cue(10, 12.5, "leaves", "fall")], 0),
        (
            LRC,
            [cue(1, 3, "The giraffe"), cue(3, 13, "eats leaves"), cue(59.5, 69.5, "eats leaves")],
            0,
        ),
    ],
    ids=list(ORDINARY),
)
def test_each_format_gives_times_and_rows_without_markup(
    text: str, cues: list[Cue], num_bad: int
) -> None:
    parsed = parse_subtitles(text)
    assert list(parsed.cues) == cues
    assert parsed.num_bad == num_bad


@pytest.mark.parametrize(("kind", "text"), ORDINARY.items())
def test_the_text_says_the_format_and_not_the_suffix(kind: str, text: str, tmp_path: Path) -> None:
    assert guess_format(text) == kind
    (tmp_path / "film.srt").write_text(text.replace("\n", "\r\n"), newline="")
    assert read_subtitle_file(tmp_path / "film.srt").cues == parse_subtitles(text).cues


@pytest.mark.parametrize("kind", ["srt", "ass", "ssa", "microdvd", "mpl2", "vtt"])
def test_files_that_another_program_writes_are_read(kind: str) -> None:
    pysubs2 = pytest.importorskip("pysubs2")
    written = pysubs2.SSAFile()
    truth = []
    for number in range(30):
        start_s, end_s = 2.0 * number + 1, 2.0 * number + 2.2
        written.append(
            pysubs2.SSAEvent(
                start=round(start_s * 1000),
                end=round(end_s * 1000),
                text=f"{{\\i1}}Line {number},{{\\i0}} first\\Nand second: Ünicode",
            )
        )
        truth.append((start_s, end_s, (f"Line {number}, first", "and second: Ünicode")))
    text = written.to_string(kind, **({"fps": 25} if kind == "microdvd" else {}))
    cues = parse_subtitles(text).cues
    assert [c.rows for c in cues] == [rows for _, _, rows in truth]
    for read, (start_s, end_s, _) in zip(cues, truth, strict=True):
        assert (read.start_s, read.end_s) == pytest.approx((start_s, end_s), abs=0.1)


@pytest.mark.parametrize(
    "timing",
    [
        "00:00:05,000 --> bad",
        "00:00:05,000 --> 00:00:05,000",
        "00:00:05,000 --> 00:00:04,000",
        "00:99:05,000 --> 00:99:06,000",
        "-00:00:05,000 --> 00:00:06,000",
        "00:00:05,000 --> 00:00:06,000" + " x" * 300,
    ],
)
def test_a_cue_with_unusable_times_is_left_out_and_counted(timing: str) -> None:
    parsed = parse_subtitles(SRT + f"\n4\n{timing}\nlost\n")
    assert (len(parsed.cues), parsed.num_bad) == (3, 1)
    assert not any("lost" in row for found in parsed.cues for row in found.rows)


def test_times_without_a_fraction_are_times() -> None:
    (only,) = parse_subtitles("00:00:01 --> 00:00:02\nx\n").cues
    assert (only.start_s, only.end_s) == (1, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("\ufeff\n \n", "empty"),
        ("<!DOCTYPE html><html><body>404</body></html>", "a web page"),
        ("hello", "text without times"),
        ("\x00\x01\x02\x03" * 50, "binary data"),
        ("00:00:05,000 --> bad\nx", "none of its 1"),
        ("00:00:05,000 --> 00:00:06,000\n<i></i> ♪ #\n", "no text"),
        ("WEBVTT\n", "no text"),
        ("[Script Info]\n[Events]\n", "no text"),
        ("{10}{20}x\n", "frame numbers"),
    ],
)
def test_text_without_subtitles_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadModelOutput, match=why):
        parse_subtitles(text)


def test_pictures_are_counted_at_the_rate_of_the_video_or_of_the_file() -> None:
    assert parse_subtitles("{10}{20}x\n", fps=10).cues == (cue(1, 2, "x"),)
    assert parse_subtitles("{1}{1}5\n{10}{20}x\n", fps=10).cues == (cue(2, 4, "x"),)


def test_an_arrow_that_somebody_says_is_no_timing_line() -> None:
    parsed = parse_subtitles("00:00:01,000 --> 00:00:02,000\nturn left --> then right\n")
    assert parsed.cues == (cue(1, 2, "turn left --> then right"),)
    assert parsed.num_bad == 0


def test_notes_of_music_are_taken_off_and_asides_stay() -> None:
    text = "00:00:01,000 --> 00:00:02,000\n♪ la la ♪\n♪♪\n[door slams]\n- \n"
    assert parse_subtitles(text).cues == (cue(1, 2, "la la", "[door slams]"),)


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("a {b", ["a {b"]),
        ("{\\an8}a\\nb\\Nc", ["a", "b", "c"]),
        ("{comment}a", ["a"]),
        ("{\\p1}m 0 0{\\p0}word{\\p2}m 1 1", ["word"]),
        ("}a{}", ["}a"]),
    ],
)
def test_override_blocks_and_drawings_are_not_words(text: str, rows: list[str]) -> None:
    assert ass_rows(text) == rows


def test_fields_stand_where_the_format_line_of_events_says() -> None:
    text = "[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,a, b\n"
    assert parse_subtitles(text).cues == (cue(1, 2, "a, b"),)


@pytest.mark.parametrize(
    "line",
    [
        "<i " * 200 + "{\\" * 200 + "1:1:1,1 --> " + "0:0:" * 50 + "\n",
        "<a" * 500 + "\n",
        "\n",
        " " * 500 + "\n",
        "0:0:0,0 -->\n",
        "Dialogue: " + "{" * 400 + ",\n",
        "[00:01]" * 60 + "\n",
        "&" * 300 + "&amp" * 100 + "\n",
        "00:00:01,000 --> 00:00:02,000\n<i></i>\n",
        "NOTE\n00:01.000 --> 00:02.000\n",
    ],
    ids=range(10),
)
@pytest.mark.parametrize(
    "head", ["00:00:01,000 --> 00:00:02,000\n", "WEBVTT\n\n", "[Events]\n", ""]
)
def test_the_time_for_a_hostile_file_grows_with_its_length_only(head: str, line: str) -> None:
    text = head + line * (400_000 // len(line))
    start_s = time.process_time()
    with contextlib.suppress(BadModelOutput):
        parse_subtitles(text)
    assert time.process_time() - start_s < 3


def test_damaged_files_never_raise_anything_but_the_declared_error(tmp_path: Path) -> None:
    """Bytes of every format are changed, cut out, doubled and mixed: 40 files of each."""
    random.seed(7)
    contents = [text.encode() for text in ORDINARY.values()]
    contents += [SRT.encode("utf-16"), ASS.encode("utf-16-le"), "Жираф\n".encode("cp1251") * 9]
    num_read = 0
    path = tmp_path / "film.srt"
    for data in contents:
        for _ in range(40):
            path.write_bytes(damaged(bytearray(data), random.choice(contents)))
            cues: tuple[Cue, ...] = ()
            with contextlib.suppress(BadModelOutput):
                cues = read_subtitle_file(path, fps=random.choice([None, 25.0])).cues
                num_read += 1
            assert all(0 <= c.start_s < c.end_s for c in cues)
            assert all(row.isprintable() and row for c in cues for row in c.rows)
    assert num_read > 100


def damaged(data: bytearray, other: bytes) -> bytes:
    for _ in range(random.randint(1, 12)):
        at = random.randrange(len(data) + 1)
        match random.randrange(4):
            case 0:
                data[at : at + 1] = random.randbytes(1)
            case 1:
                del data[at : at + random.randint(1, 20)]
            case 2:
                data[at:at] = data[at : at + random.randint(1, 60)] * random.randint(1, 5)
            case _:
                begin = random.randrange(len(other))
                data[at:at] = other[begin : begin + random.randint(1, 60)]
    return bytes(data)


def test_too_many_cues_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subtitle_files, "MAX_CUES", 2)
    with pytest.raises(BadModelOutput, match="more than 2"):
        parse_subtitles(SRT)


def test_a_very_long_cue_is_cut() -> None:
    head = "00:00:01,000 --> 00:00:02,000\n"
    for body in ("word " * 100_000, "word\n" * 100_000):
        (only,) = parse_subtitles(head + body).cues
        assert 100 <= sum(map(len, only.rows)) <= MAX_CUE_CHARS


def test_an_oversized_an_unreadable_and_a_binary_file_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "film.srt"
    with path.open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(BadModelOutput, match="larger than"):
        read_subtitle_file(path)
    path.write_bytes(b"\x00\x00\x01\xba" + bytes(100))
    with pytest.raises(BadModelOutput, match="bitmap"):
        read_subtitle_file(path)
    with pytest.raises(BadModelOutput, match="cannot be read: No such file"):
        read_subtitle_file(tmp_path / "gone.srt")


def test_a_guessed_encoding_and_damage_are_reported(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(SRT.replace("Hello", "Grüße").encode("cp1252"))
    parsed = read_subtitle_file(path)
    assert parsed.cues[0].rows == ("Grüße & welcome",)
    assert parsed.guessed_encoding == "Windows-1252"
    path.write_bytes(SRT.replace("Hello", "Grüße" * 9).encode()[:-20] + b"\xff")
    assert read_subtitle_file(path).num_damaged == 1

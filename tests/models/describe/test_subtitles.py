"""Subtitle files and streams: what is read, what is refused, and which clip a line belongs to."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import BadModelOutput, InvalidValue, UnknownName
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.subtitle_text import Line, decode_bytes, parse_subtitles
from fdvs.models.describe.subtitles import (
    MAX_FILE_BYTES,
    SubtitleSource,
    find_sidecar,
    lines_in,
    read_sidecar,
)
from fdvs.types import Clip, ClipView

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


def clip(start_s: float, end_s: float, index: int = 0) -> Clip:
    return Clip(video_id="v", index=index, start_s=start_s, end_s=end_s)


def view(path: Path, start_s: float, end_s: float) -> ClipView:
    return ClipView(video_path=path, clip=clip(start_s, end_s), frames=())


def source(**options: object) -> SubtitleSource:
    card = Card(name="subtitles", role="source", backend="subtitles", options=options)
    return SubtitleSource.load(card, LoadSettings())


def test_subrip_gives_times_and_words_without_markup_and_counters() -> None:
    lines = parse_subtitles(SRT, kind="srt", name="x").lines
    assert lines == (
        Line(start_s=1.0, end_s=2.5, text="Hello & welcome"),
        Line(start_s=3.0, end_s=4.0, text="The answer is 42"),
        Line(start_s=60.25, end_s=61.0, text="a < b still cue three"),
    )


def test_webvtt_leaves_out_comments_styles_identifiers_and_voices() -> None:
    parsed = parse_subtitles(VTT, kind="vtt", name="x")
    assert parsed.lines == (
        Line(start_s=1.0, end_s=2.5, text="Hello there"),
        Line(start_s=3603.0, end_s=3604.0, text="It costs 42"),
    )
    assert parsed.num_bad == 0


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
    parsed = parse_subtitles(SRT + f"\n4\n{timing}\nlost\n", kind="srt", name="x")
    assert (len(parsed.lines), parsed.num_bad) == (3, 1)
    assert not any("lost" in line.text for line in parsed.lines)


@pytest.mark.parametrize(
    ("text", "kind", "why"),
    [
        ("hello", "srt", "no subtitle found"),
        ("00:00:05,000 --> bad\nx", "srt", "none of its 1"),
        ("00:01.000 --> 00:02.000\nx", "vtt", "begins with WEBVTT"),
    ],
)
def test_text_that_is_no_subtitle_file_is_an_error(text: str, kind: str, why: str) -> None:
    with pytest.raises(BadModelOutput, match=why):
        parse_subtitles(text, kind=kind, name="x.srt")  # type: ignore[arg-type]


def test_an_arrow_that_somebody_says_is_no_timing_line() -> None:
    text = "00:00:01,000 --> 00:00:02,000\nturn left --> then right\n"
    parsed = parse_subtitles(text, kind="srt", name="x")
    assert [line.text for line in parsed.lines] == ["turn left --> then right"]
    assert parsed.num_bad == 0


def test_a_hostile_file_of_the_largest_size_is_parsed_in_seconds() -> None:
    """Every line almost a tag or almost a time: nothing here may go back over what it read."""
    line = "<i " * 200 + "{\\" * 200 + "1:1:1,1 --> " + "0:0:" * 50 + "\n"
    text = "00:00:01,000 --> 00:00:02,000\n" + line * (2_000_000 // len(line))
    start_s = time.monotonic()
    parsed = parse_subtitles(text, kind="srt", name="x")
    assert len(parsed.lines) == 1
    assert time.monotonic() - start_s < 5


def test_an_empty_file_has_no_lines_and_is_no_error() -> None:
    assert parse_subtitles("\n \n", kind="srt", name="x").lines == ()
    assert parse_subtitles("WEBVTT\n", kind="vtt", name="x").lines == ()


def test_too_many_cues_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdvs.models.describe.subtitle_text.MAX_CUES", 2)
    with pytest.raises(BadModelOutput, match="more than 2"):
        parse_subtitles(SRT, kind="srt", name="x")


def test_a_very_long_line_is_cut() -> None:
    text = "00:00:01,000 --> 00:00:02,000\n" + "word " * 100_000
    assert len(parse_subtitles(text, kind="srt", name="x").lines[0].text) <= 1000


@pytest.mark.parametrize(
    ("encoding", "told"),
    [
        ("utf-8", "utf-8"),
        ("utf-8-sig", "utf-8-sig"),
        ("utf-16", "utf-16"),
        ("utf-16-le", "utf-16-le"),
        ("utf-16-be", "utf-16-be"),
        ("cp1252", "cp1252"),
    ],
)
def test_every_usual_encoding_is_read(encoding: str, told: str) -> None:
    text = SRT.replace("Hello", "Grüße")
    assert decode_bytes(text.encode(encoding)) == (text, told)


def test_windows_encoding_is_said_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.srt").write_bytes((SRT.replace("Hello", "Grüße")).encode("cp1252"))
    assert read_sidecar(tmp_path / "a.srt")[0].text.startswith("Grüße")
    assert "Windows-1252" in caplog.text


def test_bad_cues_are_said_in_the_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.srt").write_text(SRT + "\n4\n00:00:05,000 --> x\nlost\n")
    assert len(read_sidecar(tmp_path / "a.srt")) == 3
    assert "1 subtitles with unusable times" in caplog.text


def test_a_line_belongs_to_the_clip_of_its_midpoint_and_to_no_other() -> None:
    lines = [Line(start_s=a, end_s=a + 2.0, text=f"at {a}") for a in (0.0, 3.0, 4.0, 9.0)]
    cuts = [clip(0, 5), clip(5, 10), clip(10, 20)]
    found = [[line.text for line in lines_in(lines, c)] for c in cuts]
    assert found == [["at 0.0", "at 3.0"], ["at 4.0"], ["at 9.0"]]


def test_a_line_said_again_at_once_is_told_once() -> None:
    lines = [
        Line(start_s=s, end_s=s + 1, text=t) for s, t in ((0, "a"), (1, "a"), (2, "b"), (3, "a"))
    ]
    assert [x.text for x in lines_in(lines, clip(0, 9))] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("files", "language", "chosen"),
    [
        (["film.srt", "film.en.srt", "film.vtt"], "", "film.srt"),
        (["film.vtt", "film.en.srt"], "", "film.vtt"),
        (["film.de.srt", "film.en.srt"], "", "film.de.srt"),
        (["film.de.srt", "film.en.srt", "film.srt"], "en", "film.en.srt"),
        (["film.de.srt", "film.srt"], "en", "film.srt"),
        (["film.de.srt"], "en", None),
        (["film2.srt", "film two.srt", "film.a.b.c.srt", "film.txt", "film..srt"], "", None),
        (["film.mp4.SRT"], "", "film.mp4.SRT"),
    ],
)
def test_which_file_beside_the_video_is_read(
    tmp_path: Path, files: list[str], language: str, chosen: str | None
) -> None:
    for name in files:
        (tmp_path / name).write_text(SRT)
    found = find_sidecar(tmp_path / "film.mp4", language=language)
    assert (found.name if found else None) == chosen


def test_an_unreadable_subtitle_file_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "film.srt").write_text(SRT)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(BadModelOutput, match=r"film\.srt cannot be read.*Permission denied"):
        read_sidecar(tmp_path / "film.srt")


def test_a_folder_or_a_missing_folder_is_no_subtitle_file(tmp_path: Path) -> None:
    (tmp_path / "film.srt").mkdir()
    assert find_sidecar(tmp_path / "film.mp4", language="") is None
    assert find_sidecar(tmp_path / "nowhere" / "film.mp4", language="") is None


def test_an_oversized_file_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    with (tmp_path / "film.srt").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    (tmp_path / "film.mp4").touch()
    with pytest.raises(BadModelOutput, match="larger than"):
        source().describe([view(tmp_path / "film.mp4", 0, 5)])


def test_describe_gives_one_observation_a_line_and_reads_the_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "film.srt").write_text(SRT)
    video, reads = tmp_path / "film.mp4", []
    monkeypatch.setattr(
        "fdvs.models.describe.subtitles.read_sidecar", lambda p: reads.append(p) or read_sidecar(p)
    )
    reader = source()
    got = reader.describe([view(video, 0, 3), view(video, 3, 50), view(video, 60, 61)])
    assert [[o.text for o in found] for found in got] == [
        ["Hello & welcome"],
        ["The answer is 42"],
        ["a < b still cue three"],
    ]
    assert (got[0][0].start_s, got[0][0].end_s, got[0][0].source) == (1.0, 2.5, "subtitles")
    assert reads == [tmp_path / "film.srt"]


def test_an_edited_file_changes_the_fingerprint_and_is_read_again(tmp_path: Path) -> None:
    video, reader = tmp_path / "film.mp4", source()
    before = reader.content_fingerprint(video)
    (tmp_path / "film.srt").write_text(SRT)
    first = reader.content_fingerprint(video)
    assert reader.describe([view(video, 0, 3)])[0][0].text == "Hello & welcome"
    (tmp_path / "film.srt").write_text(SRT.replace("welcome", "goodbye!"))
    assert len({before, first, reader.content_fingerprint(video)}) == 3
    assert before == ""
    assert reader.describe([view(video, 0, 3)])[0][0].text == "Hello & goodbye!"


def test_only_a_few_files_are_remembered(tmp_path: Path) -> None:
    reader = source()
    for number in range(12):
        (tmp_path / f"{number}.srt").write_text(SRT)
        assert reader.describe([view(tmp_path / f"{number}.mp4", 0, 3)])[0]
    assert len(reader._read) == 8


def test_options_are_checked() -> None:
    with pytest.raises(UnknownName, match=r"langage.*Did you mean language"):
        source(langage="en")
    with pytest.raises(InvalidValue, match="a value of type str"):
        source(language=3)
    with pytest.raises(InvalidValue, match="a tag"):
        source(language="../x")


def ffmpeg(*arguments: str) -> None:
    import imageio_ffmpeg

    exe = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([exe, "-v", "error", "-y", *arguments], check=True, timeout=60)


@pytest.mark.parametrize(
    ("codec", "suffix"), [("srt", "mkv"), ("ass", "mkv"), ("webvtt", "mkv"), ("mov_text", "mp4")]
)
def test_a_text_stream_inside_the_file_is_read(tmp_path: Path, codec: str, suffix: str) -> None:
    (tmp_path / "words.txt").write_text(SRT.split("3\n")[0])
    film = tmp_path / f"film.{suffix}"
    ffmpeg(
        *("-f", "lavfi", "-i", "color=red:s=64x64:r=5:d=6", "-f", "srt"),
        *("-i", str(tmp_path / "words.txt"), "-map", "0", "-map", "1", "-c:s", codec, str(film)),
    )
    found = source().describe([view(film, 0, 3), view(film, 3, 6)])
    assert [[o.text for o in clip_] for clip_ in found] == [
        ["Hello & welcome"],
        ["The answer is 42"],
    ]
    assert np.allclose([(o.start_s, o.end_s) for (o,) in found], [(1, 2.5), (3, 4)], atol=0.05)
    assert source().content_fingerprint(film) == ""


def test_times_inside_the_file_count_from_its_first_picture(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(SRT.split("3\n")[0])
    film = tmp_path / "late.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "color=red:s=64x64:r=5:d=6", "-f", "srt"),
        *("-i", str(tmp_path / "words.txt"), "-map", "0", "-map", "1", "-c:s", "srt"),
        *("-output_ts_offset", "100", str(film)),
    )
    (found,) = source().describe([view(film, 0, 3)])
    assert found[0].start_s == pytest.approx(1.0, abs=0.05)


def test_the_wanted_language_inside_the_file_is_chosen(tmp_path: Path) -> None:
    for language in ("german", "english"):
        (tmp_path / f"{language}.txt").write_text(SRT.split("2\n")[0].replace("Hello", language))
    film = tmp_path / "film.mkv"
    ffmpeg(
        *("-f", "lavfi", "-i", "color=red:s=64x64:r=5:d=6"),
        *("-f", "srt", "-i", str(tmp_path / "german.txt")),
        *("-f", "srt", "-i", str(tmp_path / "english.txt")),
        *("-map", "0", "-map", "1", "-map", "2", "-c:s", "srt"),
        *("-metadata:s:s:0", "language=ger", "-metadata:s:s:1", "language=eng", str(film)),
    )
    told = [source(language=tag).describe([view(film, 0, 6)])[0] for tag in ("", "en", "fr")]
    assert [o.text.split()[0] for o in (told[0][0], told[1][0])] == ["german", "english"]
    assert told[2] == []


def test_a_video_without_subtitles_says_nothing(tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64:r=5:d=1", str(film))
    assert source().describe([view(film, 0, 1)]) == [[]]


def test_a_file_that_is_no_video_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("hello")
    with pytest.raises(BadModelOutput, match=r"inside film\.mp4 cannot be read"):
        source().describe([view(tmp_path / "film.mp4", 0, 1)])

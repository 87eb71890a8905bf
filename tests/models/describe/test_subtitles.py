"""The source of subtitles: which track is read, its times, and what notes say of the others."""

from __future__ import annotations

import contextlib
import random
import subprocess
from pathlib import Path

import pytest

from fdvs.errors import BadModelOutput, InvalidValue, UnknownName
from fdvs.media.pyav_input import demux_safely
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.subtitle_files import MAX_FILE_BYTES
from fdvs.models.describe.subtitle_streams import list_tracks
from fdvs.models.describe.subtitles import SubtitleSource
from fdvs.protocols import Heard, TrackSource
from fdvs.types import Timeline

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> &amp; {\\an8}welcome.

2
00:00:03,000 --> 00:00:04,000
The answer is 42.
"""
FORCED = "1\n00:00:02,000 --> 00:00:03,000\nHARBOUR\n"


def source(**options: object) -> SubtitleSource:
    card = Card(name="subtitles", role="source", backend="subtitles", options=options)
    return SubtitleSource.load(card, LoadSettings())


def timeline(
    end_s: float = 6.0, *, origin_s: float = 0.0, sound_start_s: float | None = None
) -> Timeline:
    return Timeline(
        origin_s=origin_s,
        pictures_end_s=end_s,
        sound_start_s=sound_start_s,
        sound_end_s=None,
        duration_s=end_s,
    )


def heard(video: Path, clock: Timeline | None = None, **options: object) -> Heard:
    (only,) = source(**options).read_track(video, clock or timeline())
    return only


def texts(part: Heard) -> list[str]:
    return [found.text for found in part.observations]


def srt(text: str) -> str:
    return f"1\n00:00:01,000 --> 00:00:02,000\n{text}\n"


def ffmpeg(*arguments: str) -> None:
    import imageio_ffmpeg

    exe = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([exe, "-v", "error", "-y", *arguments], check=True, timeout=60)


def film(path: Path, *tracks: Path, options: tuple[str, ...] = ()) -> Path:
    """Write six seconds of red with these text files as streams 1, 2, ..."""
    maps = [value for at in range(len(tracks) + 1) for value in ("-map", str(at))]
    inputs = [value for track in tracks for value in ("-f", "srt", "-i", str(track))]
    red = ("-f", "lavfi", "-i", "color=red:s=64x64:r=5:d=6")
    ffmpeg(*red, *inputs, *maps, *options, str(path))
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A film without subtitles."""
    return film(tmp_path_factory.mktemp("plain") / "film.mp4").read_bytes()


@pytest.fixture
def video(tmp_path: Path, plain: bytes) -> Path:
    path = tmp_path / "film.mp4"
    path.write_bytes(plain)
    return path


def test_it_is_a_track_source() -> None:
    assert isinstance(source(), TrackSource)


def test_a_file_beside_the_video_is_told_with_its_times(video: Path) -> None:
    video.with_suffix(".srt").write_text(SRT)
    part = heard(video)
    assert [(o.start_s, o.end_s, o.text, o.source) for o in part.observations] == [
        (1.0, 2.5, "Hello & welcome.", "subtitles"),
        (3.0, 4.0, "The answer is 42.", "subtitles"),
    ]
    assert (part.start_s, part.end_s, part.notes, part.language) == (0.0, 6.0, (), "")


def test_reading_goes_on_behind_a_time(video: Path) -> None:
    video.with_suffix(".srt").write_text(SRT)
    (part,) = source().read_track(video, timeline(), start_s=2.0)
    assert (part.start_s, texts(part)) == (2.0, ["The answer is 42."])


def test_a_video_without_subtitles_says_nothing(video: Path) -> None:
    assert heard(video) == Heard(start_s=0.0, end_s=6.0, observations=())


@pytest.mark.parametrize(
    ("files", "language", "used"),
    [
        (["srt", "de.srt"], "", "srt"),
        (["de.srt", "en.srt", "srt"], "", "en.srt"),
        (["de.srt", "fr.srt"], "", "de.srt"),
        (["de.srt", "en.srt", "srt"], "de", "de.srt"),
        (["de.srt", "en.srt", "srt"], "german", "de.srt"),
        (["de.srt", "srt"], "en", "srt"),
        (["pt-BR.srt", "en.srt"], "pt", "pt-BR.srt"),
        (["en.forced.srt", "en.srt"], "", "en.srt"),
        (["en.forced.srt", "de.srt"], "", "de.srt"),
        (["en.cc.srt", "en.sdh.srt", "en.srt"], "", "en.srt"),
        (["en.forced.srt", "en.sdh.srt"], "", "en.sdh.srt"),
        (["en.vtt", "en.srt", "en.ass"], "", "en.srt"),
        (["en.srt", "en.default.vtt"], "", "en.default.vtt"),
    ],
)
def test_one_of_several_files_is_chosen_and_the_others_are_named(
    video: Path, files: list[str], language: str, used: str
) -> None:
    for name in files:
        video.with_suffix(f".{name}").write_text(srt(f"Text of {name}."))
    part = heard(video, language=language)
    assert texts(part) == [f"Text of {used}."]
    others = sorted(set(files) - {used})
    assert len(part.notes) == 1
    assert part.notes[0].startswith(f"{len(others)} more subtitle track")
    assert all(f"film.{name}" in part.notes[0] for name in others)


def test_a_file_in_another_language_than_the_wanted_one_is_only_named(video: Path) -> None:
    video.with_suffix(".de.srt").write_text(SRT)
    part = heard(video, language="en")
    assert texts(part) == []
    assert part.notes == (
        "there are no subtitles in 'en', only film.de.srt; to use them, change the option language",
    )


def test_a_forced_track_alone_is_told_and_said_to_be_a_part(video: Path) -> None:
    video.with_suffix(".en.forced.srt").write_text(FORCED)
    part = heard(video)
    assert (texts(part), part.language) == (["HARBOUR"], "en")
    assert part.notes[0].startswith("film.en.forced.srt is a forced track (1 subtitle)")


def test_many_files_that_are_not_used_are_counted(video: Path) -> None:
    for language in "en de fr es it nl da sv pl cs".split():
        video.with_suffix(f".{language}.srt").write_text(SRT)
    (note,) = heard(video).notes
    assert note.startswith("9 more subtitle tracks were not used: ")
    assert note.endswith(" and 4 more")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<!DOCTYPE html><html>404</html>", "a web page"),
        (b"", "empty"),
        (b"\x00\x01\x02" * 999, "binary"),
        (b"1\n00:00:01,000 --> soon\nx\n", "none of its 1"),
        (
            b"1\n00:00:01,000 --> 00:00:02,000\nISO:100 EV:0 Shutter:60 Fnum:2.8\n",
            "camera telemetry",
        ),
        (b"1\n01:00:01,000 --> 01:00:02,000\nlate\n", "not within the 6 s of the video"),
    ],
    ids=["page", "empty", "binary", "times", "telemetry", "late"],
)
def test_a_file_without_subtitles_is_named_and_gives_way_to_the_next(
    video: Path, content: bytes, why: str
) -> None:
    video.with_suffix(".en.srt").write_bytes(content)
    (note,) = heard(video).notes
    assert note.startswith("film.en.srt was not used: ")
    assert why in note
    video.with_suffix(".de.srt").write_text(SRT)
    part = heard(video)
    assert len(texts(part)) == 2
    assert part.notes == (note,)


def test_an_oversized_file_is_named(video: Path) -> None:
    with video.with_suffix(".srt").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    assert "larger than" in heard(video).notes[0]
    assert source().content_fingerprint(video)


def test_a_guessed_encoding_is_said(video: Path) -> None:
    text = srt("Жираф ест зелёные листья у старого дерева.")
    video.with_suffix(".ru.srt").write_bytes(text.encode("cp1251"))
    part = heard(video)
    assert texts(part) == ["Жираф ест зелёные листья у старого дерева."]
    assert part.notes == ("film.ru.srt is not UTF-8; read as Windows-1251 (guessed)",)
    assert part.language == "ru"


def test_cues_outside_the_video_and_with_broken_times_are_counted(video: Path) -> None:
    late = "\n3\n00:00:30,000 --> 00:00:33,000\nlate\n\n4\n00:00:05,000 --> x\nlost\n"
    video.with_suffix(".srt").write_text(SRT + late)
    part = heard(video)
    assert texts(part) == ["Hello & welcome.", "The answer is 42."]
    assert part.notes == (
        "1 subtitle of film.srt skipped: unusable times",
        "1 subtitle of film.srt skipped: not within the 6 s of the video",
    )
    (part,) = source().read_track(video, timeline(2.0))
    assert "not within the 2 s" in part.notes[1]


def test_times_of_a_file_count_from_where_its_sound_begins_before_the_pictures(
    video: Path,
) -> None:
    """A player starts its clock with the sound: pictures that begin 2 s later are at 2 s there."""
    video.with_suffix(".srt").write_text(SRT)
    part = heard(video, timeline(sound_start_s=-2.0))
    assert [(o.start_s, o.end_s) for o in part.observations] == [(0.0, 0.5), (1.0, 2.0)]
    assert heard(video, timeline(sound_start_s=2.0)).observations[0].start_s == 1.0


def test_a_file_counted_in_pictures_uses_the_rate_of_the_video(video: Path) -> None:
    video.with_suffix(".sub").write_text("{5}{10}The giraffe|eats.\n")
    part = heard(video)
    assert [(o.start_s, o.end_s, o.text) for o in part.observations] == [
        (1.0, 2.0, "The giraffe eats.")
    ]


@pytest.mark.parametrize(
    ("codec", "suffix"), [("srt", "mkv"), ("ass", "mkv"), ("webvtt", "mkv"), ("mov_text", "mp4")]
)
def test_a_text_stream_inside_the_file_is_read(tmp_path: Path, codec: str, suffix: str) -> None:
    (tmp_path / "words.txt").write_text(SRT)
    path = film(tmp_path / f"film.{suffix}", tmp_path / "words.txt", options=("-c:s", codec))
    part = heard(path)
    assert texts(part) == ["Hello & welcome.", "The answer is 42."]
    times = [value for o in part.observations for value in (o.start_s, o.end_s)]
    assert times == pytest.approx([1, 2.5, 3, 4], abs=0.05)
    assert part.notes == ()
    assert source().content_fingerprint(path) == ""


def test_times_inside_the_file_count_from_its_first_picture(tmp_path: Path) -> None:
    (tmp_path / "words.txt").write_text(SRT)
    options = ("-c:s", "srt", "-output_ts_offset", "100")
    path = film(tmp_path / "late.mkv", tmp_path / "words.txt", options=options)
    part = heard(path, timeline(origin_s=100.0))
    assert part.observations[0].start_s == pytest.approx(1.0, abs=0.05)
    part = heard(path, timeline(origin_s=102.8))
    assert texts(part) == ["The answer is 42."]
    assert part.notes == ("1 subtitle of track 1 (srt) skipped: not within the 6 s of the video",)


@pytest.fixture(scope="module")
def two_languages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film with a German, an English and a forced English stream."""
    folder = tmp_path_factory.mktemp("languages")
    for language in ("german", "english", "forced"):
        (folder / f"{language}.txt").write_text(SRT.replace("Hello", language))
    marks = ("ger", "eng", "eng")
    names = [
        v for at, mark in enumerate(marks) for v in (f"-metadata:s:s:{at}", f"language={mark}")
    ]
    flags = ("-c:s", "srt", "-disposition:s:2", "forced", "-disposition:s:0", "default")
    inputs = [folder / f"{language}.txt" for language in ("german", "english", "forced")]
    return film(folder / "film.mkv", *inputs, options=(*names, *flags))


DE, EN, PART = "track 1 (srt, de)", "track 2 (srt, en)", "track 3 (srt, en)"


@pytest.mark.parametrize(
    ("language", "used", "note"),
    [
        ("", ["english"], f"2 more subtitle tracks were not used: {DE}, {PART}"),
        ("en", ["english"], f"2 more subtitle tracks were not used: {PART}, {DE}"),
        ("ger", ["german"], f"2 more subtitle tracks were not used: {EN}, {PART}"),
        ("fr", [], f"there are no subtitles in 'fr', only {DE}, {EN}, {PART}; to use them"),
    ],
)
def test_the_language_inside_the_file_is_chosen(
    two_languages: Path, language: str, used: list[str], note: str
) -> None:
    part = heard(two_languages, language=language)
    assert [text.split()[0] for text in texts(part)[:1]] == used
    (said,) = part.notes
    assert said.split(", change")[0] == note


def test_a_file_beside_comes_before_a_stream_unless_only_that_has_the_language(
    tmp_path: Path, two_languages: Path
) -> None:
    path = tmp_path / "film.mkv"
    path.write_bytes(two_languages.read_bytes())
    (tmp_path / "film.fr.srt").write_text(srt("Bonjour."))
    assert texts(heard(path))[0].startswith("english")
    assert texts(heard(path, language="fr")) == ["Bonjour."]
    (tmp_path / "film.srt").write_text(srt("Beside."))
    assert texts(heard(path)) == ["Beside."]
    (tmp_path / "film.srt").write_text("")
    assert texts(heard(path))[0].startswith("english")


def test_the_streams_of_a_file_are_listed(two_languages: Path) -> None:
    inside = list_tracks(two_languages)
    assert [(t.number, t.codec, t.tags.language, t.tags.is_forced) for t in inside.tracks] == [
        (1, "srt", "de", False),
        (2, "srt", "en", False),
        (3, "srt", "en", True),
    ]
    assert inside.fps == pytest.approx(5)


@pytest.mark.parametrize("beside", [True, False])
def test_pictures_of_text_inside_the_file_are_named_where_there_is_nothing_else(
    tmp_path: Path, beside: bool
) -> None:
    (tmp_path / "words.txt").write_text(SRT)
    path = film(tmp_path / "film.mkv", tmp_path / "words.txt", options=("-c:s", "srt"))
    content = path.read_bytes()
    assert content.count(b"S_TEXT/UTF8") == 1
    path.write_bytes(content.replace(b"S_TEXT/UTF8", b"S_HDMV/PGS\0"))
    if beside:
        path.with_suffix(".srt").write_text(SRT)
    part = heard(path)
    assert len(texts(part)) == (2 if beside else 0)
    assert list(part.notes) == (
        []
        if beside
        else [
            "embedded subtitles are not text and cannot be read (track 1 (pgssub)); add a .srt file"
        ]
    )


def test_a_stream_that_begins_in_the_middle_of_a_file_ends_no_reading(tmp_path: Path) -> None:
    """Too far behind the start and the end for a probe to see it: PyAV stumbles at the end."""
    import av

    noise = ("-f", "lavfi", "-i", "color=s=320x240:r=25:d=3,noise=alls=100:allf=t")
    coded = ("-c:v", "mpeg2video", "-q:v", "1", "-threads", "1")
    sine = ("-f", "lavfi", "-i", "sine=d=1", "-c:a", "mp2", "-shortest")
    ffmpeg(*noise, *coded, str(tmp_path / "silent.ts"))
    ffmpeg(*noise, *sine, *coded, "-t", "1", str(tmp_path / "sound.ts"))
    silent, sound = ((tmp_path / f"{name}.ts").read_bytes() for name in ("silent", "sound"))
    (tmp_path / "film.ts").write_bytes(silent + sound + silent)
    with av.open(str(tmp_path / "film.ts")) as container:
        assert len(container.streams) == 1
        packets = [p for p in demux_safely(container, container.streams[0]) if p.size]
    assert len(packets) == 75 + 25 + 75
    assert heard(tmp_path / "film.ts").observations == ()


def test_damage_inside_the_file_never_raises_anything_but_the_declared_error(
    tmp_path: Path, two_languages: Path
) -> None:
    random.seed(3)
    content, path, num_read = two_languages.read_bytes(), tmp_path / "film.mkv", 0
    for _ in range(100):
        data = bytearray(content)
        for _ in range(random.randint(1, 30)):
            data[random.randrange(len(data))] = random.randrange(256)
        path.write_bytes(data[: random.choice([len(data), random.randrange(len(data))])])
        with contextlib.suppress(BadModelOutput):
            num_read += bool(heard(path).observations)
    assert num_read > 10


def test_a_file_that_is_no_video_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    path.write_text("hello")
    with pytest.raises(BadModelOutput, match=r"inside film\.mp4 cannot be read"):
        heard(path)
    (tmp_path / "film.srt").write_text(SRT)
    assert len(texts(heard(path))) == 2


def test_any_change_beside_the_video_changes_the_fingerprint(video: Path) -> None:
    prints = [source().content_fingerprint(video)]
    assert prints == [""]
    for name, text in [
        ("film.srt", SRT),
        ("film.srt", SRT + "\n"),
        ("film.en.srt", SRT),
        ("film.ttml", "x"),
        ("film.part2.srt", SRT),
    ]:
        (video.parent / name).write_text(text)
        prints.append(source().content_fingerprint(video))
    assert len(set(prints)) == len(prints)


def test_options_are_checked() -> None:
    with pytest.raises(UnknownName, match=r"langage.*Did you mean language"):
        source(langage="en")
    with pytest.raises(InvalidValue, match="a value of type str"):
        source(language=3)
    with pytest.raises(InvalidValue, match="a tag"):
        source(language="../x")

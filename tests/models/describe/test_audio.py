"""Sound at its right time: containers, clocks, holes, overlaps, channels and damage."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import BadModelOutput
from fdvs.media.readers import probe
from fdvs.models.describe.audio import (
    MAX_HOLE_S,
    SAMPLE_RATE,
    AudioTrack,
    Block,
    TrackSound,
    audio_tracks,
    mix,
    placed,
)
from fdvs.types import Timeline

Make = Callable[..., Any]


def loud(samples: Any, offset_s: float = 0.0) -> tuple[float, float]:
    """Return where a sound begins and ends, in seconds."""
    at = np.flatnonzero(np.abs(samples) > 0.1)
    return offset_s + at[0] / SAMPLE_RATE, offset_s + at[-1] / SAMPLE_RATE


def timeline_of(path: Path) -> Timeline:
    timeline = probe(path).timeline
    assert timeline is not None
    return timeline


def read(path: Path, **bounds: float) -> list[Block]:
    sound = TrackSound(path, audio_tracks(path)[0], origin_s=timeline_of(path).origin_s)
    return list(sound.blocks(**bounds))


def whole(path: Path, **bounds: float) -> tuple[float, Any]:
    """Return where the sound begins and all its samples, mixed."""
    blocks = read(path, **bounds)
    for before, after in pairwise(blocks):
        assert after.start_s == pytest.approx(before.end_s, abs=1e-6)
    return blocks[0].start_s, np.concatenate([mix(block.samples, "all") for block in blocks])


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "avi", "ts"])
def test_sound_is_where_it_was_made_in_every_container(
    tmp_path: Path, film: Make, suffix: str
) -> None:
    more = ["-c:v", "libvpx", "-c:a", "libvorbis"] if suffix == "webm" else []
    path = film(tmp_path / f"film.{suffix}", *more)
    start_s, samples = whole(path)
    assert samples.dtype == np.float32
    assert start_s == pytest.approx(0, abs=0.1)
    assert loud(samples, start_s) == (pytest.approx(2, abs=0.06), pytest.approx(3, abs=0.06))
    start_s, part = whole(path, start_s=1.5, end_s=2.5)
    assert start_s == pytest.approx(1.5, abs=0.001)
    assert len(part) == pytest.approx(SAMPLE_RATE, abs=2)
    assert loud(part, 1.5) == (pytest.approx(2, abs=0.06), pytest.approx(2.5, abs=0.06))


def test_the_tone_keeps_its_pitch_at_16_khz(tmp_path: Path, film: Make) -> None:
    _, samples = whole(film(tmp_path / "film.mkv"), start_s=2.2, end_s=2.8)
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * SAMPLE_RATE / len(samples) == pytest.approx(440, abs=3)


def test_time_counts_from_the_first_picture_not_from_the_containers_clock(
    tmp_path: Path, film: Make
) -> None:
    path = film(tmp_path / "film.mkv", "-output_ts_offset", "50")
    start_s, samples = whole(path)
    assert loud(samples, start_s) == (pytest.approx(2, abs=0.06), pytest.approx(3, abs=0.06))


def test_sound_before_the_first_picture_has_negative_times(
    tmp_path: Path, film: Make, ffmpeg: Make
) -> None:
    plain = film(tmp_path / "plain.mkv")
    path = tmp_path / "late.mkv"
    late = ["-itsoffset", "1.5", "-i", str(plain), "-i", str(plain)]
    ffmpeg(*late, "-map", "0:v", "-map", "1:a", "-c", "copy", str(path))
    start_s, samples = whole(path)
    assert start_s == pytest.approx(-1.5, abs=0.1)
    assert loud(samples, start_s) == (pytest.approx(0.5, abs=0.06), pytest.approx(1.5, abs=0.06))


def test_a_hole_in_the_sound_keeps_what_comes_after_in_its_place(
    tmp_path: Path, film: Make
) -> None:
    path = film(tmp_path / "film.mkv", "-af", "aselect='not(between(t,0.5,1.5))'", "-c:a", "flac")
    start_s, samples = whole(path)
    assert loud(samples, start_s) == (pytest.approx(2, abs=0.15), pytest.approx(3, abs=0.15))


def test_beyond_its_end_there_is_nothing(tmp_path: Path, film: Make) -> None:
    assert read(film(tmp_path / "film.mkv"), start_s=20, end_s=21) == []


def test_the_streams_of_a_file_are_listed_with_their_tags(
    tmp_path: Path, film: Make, ffmpeg: Make
) -> None:
    plain = film(tmp_path / "plain.mkv")
    path = tmp_path / "two.mkv"
    tags = ["-metadata:s:a:0", "language=ger", "-metadata:s:a:1", "title=Director's commentary"]
    streams = ["-map", "0:v", "-map", "0:a", "-map", "0:a", "-c", "copy"]
    marks = ["-disposition:a:0", "default", "-disposition:a:1", "0"]
    ffmpeg("-i", str(plain), *streams, *tags, *marks, str(path))
    first, second = audio_tracks(path)
    assert (first.number, first.language, first.num_channels) == (1, "de", 2)
    assert first.is_default
    assert not first.is_commentary
    assert second.is_commentary
    assert first.name == "track 1 (vorbis, de)"
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=64x64:r=5:d=1", str(tmp_path / "mute.mp4"))
    assert audio_tracks(tmp_path / "mute.mp4") == ()


def test_a_format_that_changes_in_mid_file_changes_nothing(
    tmp_path: Path, film: Make, ffmpeg: Make
) -> None:
    """Two recordings joined as broadcasts are: mono at 22 kHz, then stereo at 48 kHz."""
    for name, more in (("a", ["-ac", "1", "-ar", "22050"]), ("b", ["-ac", "2", "-ar", "48000"])):
        film(tmp_path / f"{name}.ts", *more, "-c:a", "mp2")
    shifted = tmp_path / "c.ts"
    ffmpeg("-i", str(tmp_path / "b.ts"), "-c", "copy", "-output_ts_offset", "6", str(shifted))
    joined = tmp_path / "joined.ts"
    joined.write_bytes((tmp_path / "a.ts").read_bytes() + shifted.read_bytes())
    start_s, samples = whole(joined)
    assert loud(samples[: 5 * SAMPLE_RATE], start_s)[0] == pytest.approx(2, abs=0.1)
    later = samples[5 * SAMPLE_RATE :]
    assert loud(later, start_s + 5) == (pytest.approx(8, abs=0.1), pytest.approx(9, abs=0.1))


def test_a_stream_that_begins_in_mid_file_ends_nothing_early(
    tmp_path: Path, film: Make, ffmpeg: Make
) -> None:
    quiet = tmp_path / "quiet.ts"
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=64x64:r=10:d=2", str(quiet))
    sounding = film(tmp_path / "sound.ts", "-output_ts_offset", "2")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(quiet.read_bytes() + sounding.read_bytes())
    start_s, samples = whole(joined)
    assert loud(samples, start_s) == (pytest.approx(4, abs=0.15), pytest.approx(5, abs=0.15))


def test_damaged_packets_are_left_out(tmp_path: Path, film: Make) -> None:
    path = film(tmp_path / "film.ts")
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0)
    for at in noise.integers(len(data) // 2, len(data), 200):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    start_s, samples = whole(path)
    assert loud(samples, start_s)[0] == pytest.approx(2, abs=0.1)


def test_a_file_that_is_no_video_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("hello")
    with pytest.raises(BadModelOutput, match=r"sound of film\.mp4 cannot be read"):
        audio_tracks(tmp_path / "film.mp4")
    track = AudioTrack(number=1, codec="aac", num_channels=2)
    with pytest.raises(BadModelOutput, match=r"sound of film\.mp4 cannot be read"):
        list(TrackSound(tmp_path / "film.mp4", track, origin_s=0.0).blocks())


def frames(*times_s: float | None, length_s: float = 1.0) -> Any:
    """Frames of ones at these times."""
    samples = np.ones((1, round(length_s * SAMPLE_RATE)), np.float32)
    return iter([(time_s, samples) for time_s in times_s])


def spans(blocks: list[Block]) -> list[tuple[float, float, bool]]:
    """(start, end, is silence) of each block."""
    return [
        (round(b.start_s, 2), round(b.end_s, 2), not b.samples.any())
        for b in blocks
        if b.samples.size
    ]


def test_holes_are_filled_up_to_a_minute_and_overlaps_trimmed() -> None:
    assert spans(list(placed(frames(0.0, 1.05, 3.0)))) == [
        *((0, 1, False), (1, 2, False), (2, 3, True), (3, 4, False))
    ]
    assert spans(list(placed(frames(0.0, 0.5)))) == [(0, 1, False), (1, 1.5, False)]
    far = 2 + MAX_HOLE_S
    assert spans(list(placed(frames(0.0, far)))) == [(0, 1, False), (far, far + 1, False)]


def test_frames_without_time_and_behind_a_clock_that_restarts_are_appended() -> None:
    assert spans(list(placed(frames(5.0, None)))) == [(5, 6, False), (6, 7, False)]
    assert spans(list(placed(frames(50.0, 51.0, 0.0, 1.0)))) == [
        *((50, 51, False), (51, 52, False), (52, 53, False), (53, 54, False))
    ]


@pytest.mark.parametrize(
    ("channel", "wanted"), [("all", 0.5), ("left", 0.75), ("right", 0.25), ("difference", 0.25)]
)
def test_channels_are_mixed_or_taken_alone(channel: Any, wanted: float) -> None:
    samples = np.array([[0.75] * 4, [0.25] * 4], np.float32)
    assert mix(samples, channel).tolist() == [wanted] * 4
    assert mix(samples[:1], channel).tolist() == [0.75] * 4


def test_the_sound_of_an_audio_file_is_read(tmp_path: Path, ffmpeg: Make) -> None:
    path = tmp_path / "tone.mp3"
    ffmpeg("-f", "lavfi", "-i", "sine=f=440:d=2:r=44100", "-ac", "1", str(path))
    start_s, samples = whole(path)
    assert start_s == pytest.approx(0, abs=0.05)
    assert len(samples) == pytest.approx(2 * SAMPLE_RATE, abs=0.1 * SAMPLE_RATE)

"""The track and channel with the voice: a tone stands for a voice, silence and noise for none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.media.readers import probe
from fdvs.models.describe.audio import AudioTrack, Samples, audio_tracks
from fdvs.models.describe.speech_choice import Choice, choose_sound
from fdvs.models.describe.speech_text import Segment
from fdvs.models.describe.speech_whisper import VOICE_WINDOW
from fdvs.types import Timeline

Make = Callable[..., Any]


class Ear:
    """Takes a tone of 440 Hz that stands out of the other frequencies for a voice."""

    is_multilingual = True

    def voice(self, samples: Samples) -> Any:
        padded = np.pad(samples, (0, -len(samples) % VOICE_WINDOW))
        spectrum = np.abs(np.fft.rfft(padded.reshape(-1, VOICE_WINDOW))) ** 2
        tone = spectrum[:, 13:16].sum(axis=1)
        return ((tone > 1) & (tone > 0.7 * spectrum.sum(axis=1))).astype(np.float32)

    def languages(self, samples: Samples) -> dict[str, float]:
        raise AssertionError

    def recognise(self, samples: Samples, *, language: str, beam_size: int) -> list[Segment]:
        raise AssertionError


def clock_of(path: Path) -> Timeline:
    timeline = probe(path).timeline
    assert timeline is not None
    return timeline


def choose(path: Path, language: str = "") -> Choice:
    found = choose_sound(path, audio_tracks(path), clock_of(path), Ear(), language=language)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("right", "channel"),
    [
        ("0.5*sin(880*PI*t)", "all"),
        ("0", "all"),
        ("-0.5*sin(880*PI*t)", "difference"),
        ("0.9*(random(0)-0.5)*2", "left"),
    ],
    ids=["alike", "silent", "opposite phase", "noise"],
)
def test_the_channel_with_more_voice_is_taken(
    tmp_path: Path, ffmpeg: Make, right: str, channel: str
) -> None:
    path = tmp_path / "film.mkv"
    sound = f"aevalsrc='0.5*sin(880*PI*t)|{right}':s=44100:d=6"
    picture = "color=gray:s=64x64:r=10:d=6"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-c:a", "flac", str(path))
    found = choose(path)
    assert found.channel == channel
    assert len(found.notes) == (channel != "all")


def test_a_voice_that_is_as_long_but_clearer_in_one_channel_is_taken_there(
    tmp_path: Path, ffmpeg: Make
) -> None:
    """Noise too weak to hide the voice: it is heard in all channels, clearest in the left one."""
    path = tmp_path / "film.mkv"
    tone = "0.5*sin(880*PI*t)*lt(mod(t,2),1)"
    sound = f"aevalsrc='{tone}|0.15*(random(0)-0.5)':s=44100:d=6"
    picture = "color=gray:s=64x64:r=10:d=6"
    ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, "-c:a", "flac", str(path))
    assert choose(path).channel == "left"


def two_tracks(
    ffmpeg: Make, folder: Path, *tags: str, first: str = "volume=1", second: str = "volume=1"
) -> Path:
    """A film with two mono sound tracks of the same tone, each with its own filter."""
    path = folder / "two.mkv"
    sources = ["-f", "lavfi", "-i", "color=gray:s=64x64:r=10:d=6"]
    sources += ["-f", "lavfi", "-i", "aevalsrc='0.5*sin(880*PI*t)':s=44100:d=6"]
    graph = f"[1:a]asplit[a][b];[a]{first}[c];[b]{second}[d]"
    maps = ["-filter_complex", graph, "-map", "0:v", "-map", "[c]", "-map", "[d]", "-c:a", "flac"]
    ffmpeg(*sources, *maps, *tags, str(path))
    return path


def test_the_track_with_a_voice_is_taken_and_the_other_named(tmp_path: Path, ffmpeg: Make) -> None:
    found = choose(two_tracks(ffmpeg, tmp_path, first="volume=0"))
    assert found.track.number == 2
    assert found.notes == (
        "speech was recognised in sound track 2 (flac); not used: track 1 (flac)",
    )


def test_of_tracks_with_a_voice_the_wanted_language_is_taken(tmp_path: Path, ffmpeg: Make) -> None:
    tags = ["-metadata:s:a:0", "language=ger", "-metadata:s:a:1", "language=eng"]
    path = two_tracks(ffmpeg, tmp_path, *tags)
    assert choose(path).track.language == "en"
    assert choose(path, "de").track.language == "de"
    quiet = two_tracks(ffmpeg, tmp_path, *tags, second="volume=0")
    assert choose(quiet).track.language == "de"


def test_a_commentary_is_taken_only_where_there_is_nothing_else(
    tmp_path: Path, ffmpeg: Make
) -> None:
    tags = ["-metadata:s:a:0", "title=Commentary by the director"]
    assert choose(two_tracks(ffmpeg, tmp_path, *tags)).track.number == 2
    tags += ["-metadata:s:a:1", "title=Commentary by the editor"]
    assert choose(two_tracks(ffmpeg, tmp_path, *tags)).track.number == 1


def test_without_a_decoder_there_is_no_choice_and_one_mono_track_is_not_listened_to(
    tmp_path: Path,
) -> None:
    clock = Timeline(
        origin_s=0.0, pictures_end_s=1.0, sound_start_s=0.0, sound_end_s=1.0, duration_s=1.0
    )
    mono = AudioTrack(number=1, codec="aac", num_channels=1)
    odd = AudioTrack(number=2, codec="unknown codec", num_channels=0, has_decoder=False)
    missing = tmp_path / "missing.mkv"
    assert choose_sound(missing, [odd], clock, Ear(), language="") is None
    found = choose_sound(missing, [mono, odd], clock, Ear(), language="")
    assert found is not None
    assert found.track is mono
    assert found.notes[0].endswith("not used: track 2 (unknown codec): no decoder")

"""Speech: sound at its right time, words by their middle, and real speech where a model is."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import BadModelOutput, InvalidValue, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings, load_card
from fdvs.models.describe.audio import SAMPLE_RATE, read_sound
from fdvs.models.describe.speech import (
    SpeechOptions,
    SpeechSource,
    Word,
    _place,
    pieces,
    whisper_folder,
    words_in,
)
from fdvs.models.describe.subtitles import SubtitleSource
from fdvs.models.weights.fetch import model_folder
from fdvs.text.vocabulary import same_words
from fdvs.types import Clip, ClipView, ModelIdentity

IDENTITY = ModelIdentity(role="source", backend="faster-whisper", name="scripted")


def ffmpeg(*arguments: str) -> None:
    import imageio_ffmpeg

    exe = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([exe, "-v", "error", "-y", *arguments], check=True, timeout=60)


def film(path: Path, *more: str, tone: tuple[float, float] = (2, 3)) -> Path:
    """Six seconds of grey with a 440 Hz tone in [tone), silence around it, 44.1 kHz stereo."""
    sound = f"aevalsrc='0.5*sin(880*PI*t)*between(t,{tone[0]},{tone[1]})':s=44100:d=6,"
    sound += "pan=stereo|c0=c0|c1=c0"
    ffmpeg(
        *("-f", "lavfi", "-i", "color=gray:s=64x64:r=10:d=6", "-f", "lavfi", "-i", sound),
        *more,
        str(path),
    )
    return path


def loud(samples: Any, offset_s: float = 0.0) -> tuple[float, float]:
    """Return where a sound begins and ends, in seconds."""
    at = np.flatnonzero(np.abs(samples) > 0.1)
    return offset_s + at[0] / SAMPLE_RATE, offset_s + at[-1] / SAMPLE_RATE


def view(path: Path, start_s: float, end_s: float) -> ClipView:
    clip = Clip(video_id="v", index=0, start_s=start_s, end_s=end_s)
    return ClipView(video_path=path, clip=clip, frames=())


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "webm", "avi", "ts"])
def test_sound_is_where_it_was_made_in_every_container(tmp_path: Path, suffix: str) -> None:
    more = ["-c:v", "libvpx", "-c:a", "libvorbis"] if suffix == "webm" else []
    path = film(tmp_path / f"film.{suffix}", *more)
    whole = read_sound(path, start_s=0, end_s=6)
    assert whole is not None
    assert whole.dtype == np.float32
    assert loud(whole) == (pytest.approx(2, abs=0.06), pytest.approx(3, abs=0.06))
    part = read_sound(path, start_s=1.5, end_s=2.5)
    assert part is not None
    assert len(part) == pytest.approx(SAMPLE_RATE, abs=400)
    assert loud(part, 1.5) == (pytest.approx(2, abs=0.06), pytest.approx(2.5, abs=0.06))


def test_the_tone_keeps_its_pitch_at_16_khz(tmp_path: Path) -> None:
    samples = read_sound(film(tmp_path / "film.mkv"), start_s=2.2, end_s=2.8)
    assert samples is not None
    spectrum = np.abs(np.fft.rfft(samples))
    assert np.argmax(spectrum) * SAMPLE_RATE / len(samples) == pytest.approx(440, abs=3)


def test_time_counts_from_the_first_picture_not_from_the_containers_clock(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", "-output_ts_offset", "50")
    samples = read_sound(path, start_s=1.0, end_s=4.0)
    assert samples is not None
    assert loud(samples, 1.0) == (pytest.approx(2, abs=0.06), pytest.approx(3, abs=0.06))


def test_a_hole_in_the_sound_keeps_what_comes_after_in_its_place(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv", "-af", "aselect='not(between(t,0.5,1.5))'", "-c:a", "flac")
    samples = read_sound(path, start_s=0, end_s=6)
    assert samples is not None
    assert loud(samples) == (pytest.approx(2, abs=0.15), pytest.approx(3, abs=0.15))


def test_without_sound_there_is_none_and_beyond_its_end_it_is_empty(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv")
    beyond = read_sound(path, start_s=20, end_s=21)
    assert beyond is not None
    assert len(beyond) == 0
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=64x64:r=5:d=1", str(tmp_path / "mute.mp4"))
    assert read_sound(tmp_path / "mute.mp4", start_s=0, end_s=1) is None


def test_damaged_packets_are_left_out(tmp_path: Path) -> None:
    path = film(tmp_path / "film.ts")
    data = bytearray(path.read_bytes())
    noise = np.random.default_rng(0)
    for at in noise.integers(len(data) // 2, len(data), 200):
        data[at] ^= 0xFF
    path.write_bytes(bytes(data))
    samples = read_sound(path, start_s=0, end_s=6)
    assert samples is not None
    assert loud(samples)[0] == pytest.approx(2, abs=0.1)


def test_a_file_that_is_no_video_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("hello")
    with pytest.raises(BadModelOutput, match=r"sound of film\.mp4 cannot be read"):
        read_sound(tmp_path / "film.mp4", start_s=0, end_s=1)


@dataclass
class Heard:
    word: str
    start: float
    end: float
    probability: float = 0.9


@dataclass
class Segment:
    words: list[Heard] | None


class ScriptedWhisper:
    """Says a word at every tenth of a second of the sound; remembers what it was given."""

    def __init__(self, words: list[Heard] | None = None) -> None:
        self.words = words
        self.heard: list[Any] = []
        self.settings: dict[str, Any] = {}

    def transcribe(self, samples: Any, **settings: Any) -> Any:
        self.heard.append(samples)
        self.settings = settings
        return iter([Segment(words=self.words), Segment(words=None)]), None


def source(model: Any, **options: Any) -> SpeechSource:
    return SpeechSource(model, IDENTITY, SpeechOptions(**options))


def test_a_clip_is_heard_with_a_second_around_it_and_words_count_by_their_middle(
    tmp_path: Path,
) -> None:
    path = film(tmp_path / "film.mkv")
    # the sound begins at 1 s, so a word at 0.9-1.3 is at 1.9-2.3 of the video
    words = [Heard(" before", 0.5, 0.9), Heard(" on", 0.9, 1.3), Heard(" time", 1.4, 1.8)]
    words += [Heard(" cut", 2.8, 3.1), Heard(" after", 3.1, 3.5)]
    model = ScriptedWhisper(words)
    (found,) = source(model).describe([view(path, 2.0, 4.0)])
    assert len(model.heard[0]) == pytest.approx(4 * SAMPLE_RATE, abs=400)
    assert loud(model.heard[0], 1.0)[0] == pytest.approx(2, abs=0.06)
    assert [(o.source, o.text) for o in found] == [("speech", "on time cut")]
    assert (found[0].start_s, found[0].end_s) == (2.0, 4.0)
    assert found[0].confidence == pytest.approx(0.9)


def test_neighbouring_clips_share_no_word_and_lose_none() -> None:
    noise = np.random.default_rng(0)
    starts = np.sort(noise.uniform(0, 30, 200))
    said = [
        Word(text=f" w{n}", start_s=s, end_s=s + noise.uniform(0.05, 1.5), probability=1)
        for n, s in enumerate(starts)
    ]
    cuts = [0, 3.3, 7, 7.5, 19, 40]
    told = [w.text for a, b in pairwise(cuts) for w in words_in(said, start_s=a, end_s=b)]
    assert sorted(told) == sorted(w.text for w in said)


def test_unsure_words_and_wordless_segments_are_left_out(tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv")
    model = ScriptedWhisper([Heard(" sure", 1.2, 1.4, 0.2), Heard(" not", 1.4, 1.6, 0.19)])
    assert [o.text for o in source(model).describe([view(path, 1, 5)])[0]] == ["sure"]
    assert source(ScriptedWhisper(None)).describe([view(path, 1, 5)]) == [[]]
    assert source(ScriptedWhisper([Heard("  ", 1.2, 1.4)])).describe([view(path, 1, 5)]) == [[]]


def test_the_model_is_asked_for_words_greedily_and_only_where_there_is_a_voice(
    tmp_path: Path,
) -> None:
    model = ScriptedWhisper([])
    source(model, language="de", beam_size=2).describe([view(film(tmp_path / "f.mkv"), 0, 2)])
    wanted = {"language": "de", "beam_size": 2, "word_timestamps": True, "vad_filter": True}
    wanted |= {"temperature": 0.0, "condition_on_previous_text": False}
    assert model.settings == wanted


def test_a_video_without_sound_never_reaches_the_model(tmp_path: Path) -> None:
    ffmpeg("-f", "lavfi", "-i", "color=gray:s=64x64:r=5:d=1", str(tmp_path / "mute.mp4"))
    film(tmp_path / "film.mkv")
    model = ScriptedWhisper([])
    clips = [view(tmp_path / "mute.mp4", 0, 1), view(tmp_path / "film.mkv", 30, 31)]
    assert source(model).describe(clips) == [[], []]
    assert model.heard == []


def test_a_long_clip_is_heard_in_equal_pieces() -> None:
    assert pieces(5, 10) == [(5, 10)]
    assert pieces(0, 300) == [(0, 300)]
    cut = pieces(10, 911)
    assert (cut[0][0], cut[-1][1], len(cut)) == (10, 911, 4)
    assert all(a[1] == b[0] for a, b in pairwise(cut))
    assert max(b - a for a, b in cut) <= 300


def test_pieces_of_a_long_clip_are_told_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.models.describe.speech.MAX_PIECE_S", 2.0)
    model = ScriptedWhisper([Heard(" word", 1.1, 1.3)])
    (found,) = source(model).describe([view(film(tmp_path / "f.mkv"), 0, 6)])
    assert len(model.heard) == 3
    assert [(o.text, o.start_s, o.end_s) for o in found] == [("word word word", 1.1, 4.3)]


def test_a_failing_model_is_a_model_error(tmp_path: Path) -> None:
    class Broken:
        def transcribe(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("out of\nmemory")

    with pytest.raises(ModelError, match="out of memory"):
        source(Broken()).describe([view(film(tmp_path / "f.mkv"), 0, 2)])


def test_a_folder_must_hold_weights_and_tokenizer(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (inner / "model.bin").touch()
    with pytest.raises(ModelUnavailable, match="fdvs models fetch"):
        whisper_folder(tmp_path)
    (inner / "tokenizer.json").touch()
    assert whisper_folder(tmp_path) == inner


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    card = Card(name="speech", role="source", backend="faster-whisper")
    with pytest.raises(ModelUnavailable, match=r"\.\[speech\]"):
        SpeechSource.load(card, LoadSettings())


def test_options_are_checked() -> None:
    with pytest.raises(InvalidValue, match="beam_size"):
        SpeechOptions(beam_size=0)


@pytest.mark.parametrize(
    ("device", "wanted"),
    [
        ("cpu", ("cpu", "int8")),
        ("cuda:1", ("cuda:1", "float16")),
        ("mps", ("cpu", "int8")),
    ],
)
def test_number_type_follows_the_device_and_unknown_devices_become_the_cpu(
    device: str, wanted: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fdvs.models.describe.speech.choose_device", lambda name: (name, "asked for")
    )
    assert _place(LoadSettings(device=device), "x") == wanted


@pytest.fixture(scope="module")
def whisper() -> SpeechSource:
    card = load_card("speech-tiny-en")
    try:
        model_folder(card)
        return SpeechSource.load(card, LoadSettings(device="cpu"))
    except ModelUnavailable as error:
        if os.environ.get("FDVS_REQUIRE_MODELS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


def test_real_speech_says_what_the_films_own_subtitles_say(
    whisper: SpeechSource, media_dir: Path
) -> None:
    """The film carries its narration as a text stream: truth from somebody else."""
    path = media_dir / "robust" / "nasa_13013.mp4"
    card = load_card("subtitles")
    subtitles = SubtitleSource.load(card, LoadSettings()).describe([view(path, 0, 13)])[0]
    said = whisper.describe([view(path, 0, 6.0), view(path, 6.0, 13)])
    heard = same_words(" ".join(o.text for found in said for o in found)).split()
    written = same_words(" ".join(o.text for o in subtitles)).split()
    common = [word for word in written if word in heard]
    assert len(written) > 20
    assert len(common) / len(written) > 0.8
    assert [word for word in ("telescope", "goddard", "maryland") if word in heard] == [
        *("telescope", "goddard", "maryland")
    ]
    assert heard.count("telescope") == 1
    assert "maryland" in said[1][0].text.lower()
    assert "telescope" in said[0][0].text.lower()
    assert all(type(o.start_s) in (int, float) for found in said for o in found)


def test_real_tones_and_silence_are_no_speech(whisper: SpeechSource, tmp_path: Path) -> None:
    path = film(tmp_path / "film.mkv")
    assert whisper.describe([view(path, 0, 2), view(path, 2, 6)]) == [[], []]

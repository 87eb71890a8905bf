"""Attacks: many trials of one kind, counted; a failure is named, and written down where asked.

Small with fixed seeds in every run. By hand, FDVS_ATTACK_TRIALS=5000 sets the number of trials, and
FDVS_ATTACK_OUT=FILE.csv collects a row (attack, trials, failures) of each.
"""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import av
import numpy as np
import pytest

BUILD = Path(__file__).with_name("scripted_build.py")


class Attack:
    """Counts the trials of one kind of attack and keeps what failed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.num_trials = 0
        self.failures: list[str] = []

    def trials(self, small: int) -> int:
        """Return how many trials to make: `small` of them in every run, more by hand."""
        return int(os.environ.get("FDVS_ATTACK_TRIALS", small))

    def count(self, failure: str = "", *, num: int = 1) -> None:
        """Count trials; `failure` says what went wrong in one of them."""
        self.num_trials += num
        if failure:
            self.failures.append(failure)

    def write(self) -> None:
        target = os.environ.get("FDVS_ATTACK_OUT")
        if not target:
            return
        with Path(target).open("a", newline="", encoding="utf-8") as file:
            csv.writer(file).writerow([self.name, self.num_trials, len(self.failures)])


@pytest.fixture
def attack(request: pytest.FixtureRequest) -> Iterator[Attack]:
    """Count the trials of this test; it fails at its end if one of them did."""
    name = request.node.name.removeprefix("test_").replace("_", " ")
    counted = Attack(name)
    yield counted
    counted.write()
    assert counted.num_trials > 0, "no trial was made"
    assert not counted.failures, "\n".join(counted.failures[:20])


@pytest.fixture(scope="session")
def scripted() -> ModuleType:
    """The models and settings of `scripted_build.py`."""
    spec = importlib.util.spec_from_file_location("scripted_build", BUILD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def start_build() -> Callable[..., subprocess.Popen[str]]:
    """Start a build of a folder in a process of its own, with scripted models."""

    def start(library: Path, folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", str(BUILD), str(library), str(folder)]
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )

    return start


def write_film(path: Path, colours: list[int], *, codec: str = "libx264", sound: str = "") -> Path:
    """Write shots of a second at 25 fps and 64x48, one grey value each, with a tone where `sound`
    names a codec."""
    with av.open(str(path), "w") as file:
        video = file.add_stream(codec, rate=25)
        video.width, video.height = 64, 48
        video.pix_fmt = (video.codec.video_formats or [av.VideoFormat("yuv420p")])[0].name
        rate = 48000 if sound == "libopus" else 44100
        tone = file.add_stream(sound, rate=rate) if sound else None
        if tone is not None and sound != "libopus":
            tone.bit_rate = 64_000
        for index, grey in enumerate(np.repeat(colours, 25)):
            picture = np.full((48, 64, 3), grey, np.uint8)
            picture[index % 48] = 255 - grey
            file.mux(video.encode(av.VideoFrame.from_ndarray(picture)))
        file.mux(video.encode(None))
        if tone is not None:
            _add_tone(file, tone, len(colours))
    return path


def _add_tone(file: av.container.OutputContainer, stream: av.AudioStream, seconds: int) -> None:
    wave = np.sin(np.arange(48000 * seconds) * 0.05)[None].astype(np.float32) / 4
    resampler = av.AudioResampler(stream.format, stream.layout, stream.rate)
    frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
    frame.sample_rate = 48000
    frame_size = stream.codec_context.frame_size or 1024
    queue = av.AudioFifo()
    for part in resampler.resample(frame):
        part.pts = None
        queue.write(part)
    while (piece := queue.read(frame_size)) is not None:
        file.mux(stream.encode(piece))
    file.mux(stream.encode(None))

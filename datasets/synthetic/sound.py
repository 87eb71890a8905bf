"""Speak the lines of a film with the espeak-ng program, where it is installed."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import wave
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fdvs.datasets.synthetic.recipe import Line
from fdvs.errors import ModelError, ModelUnavailable

RATE = 16_000
TIMEOUT_S = 30.0
WORDS_PER_MINUTE = 150
MISSING = "espeak-ng is not installed; install it (apt-get install espeak-ng) for spoken lines"

Samples = NDArray[np.int16]


def can_speak() -> bool:
    """Whether spoken lines can be made on this machine."""
    return shutil.which("espeak-ng") is not None


def speak(text: str) -> Samples:
    """Return a line's sound, int16 at `RATE`. Raises ModelUnavailable, ModelError."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise ModelUnavailable(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "line.wav"
        command = [program, "-v", "en-us", "-s", str(WORDS_PER_MINUTE), "-w", str(path), "--", text]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
            return _read(path)
        except (subprocess.SubprocessError, OSError, EOFError, wave.Error) as error:
            raise ModelError(f"espeak-ng could not say {text!r} ({error})") from None


def _read(path: Path) -> Samples:
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2 or file.getnchannels() != 1:
            raise wave.Error("need one channel of 16 bit")
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
        rate = file.getframerate()
    times = np.arange(int(len(samples) * RATE / rate)) * (rate / RATE)
    resampled: Samples = np.interp(times, np.arange(len(samples)), samples).astype(np.int16)
    return resampled


def soundtrack(lines: Sequence[Line], duration_s: float) -> tuple[Samples, tuple[Line, ...]]:
    """Return the film's sound, and the lines with their true ends.

    A line that is longer than planned is cut at the end of the film.
    """
    track = np.zeros(round(duration_s * RATE), dtype=np.int16)
    said = []
    for line in lines:
        start = round(line.start_s * RATE)
        samples = speak(line.text)[: len(track) - start]
        track[start : start + len(samples)] = samples
        said.append(replace(line, end_s=round(line.start_s + len(samples) / RATE, 3)))
    return track, tuple(said)


def write_sound(samples: Samples, path: Path) -> None:
    """Write samples as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())

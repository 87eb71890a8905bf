"""Films with sound for the tests of speech."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest


def run_ffmpeg(*arguments: str) -> None:
    import imageio_ffmpeg

    exe = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([exe, "-v", "error", "-y", *arguments], check=True, timeout=60)


def make_film(path: Path, *more: str) -> Path:
    """Six seconds of grey with a 440 Hz tone in [2, 3), silence around it, 44.1 kHz stereo."""
    sound = "aevalsrc='0.5*sin(880*PI*t)*between(t,2,3)':s=44100:d=6,pan=stereo|c0=c0|c1=c0"
    run_ffmpeg(
        *("-f", "lavfi", "-i", "color=gray:s=64x64:r=10:d=6", "-f", "lavfi", "-i", sound),
        *more,
        str(path),
    )
    return path


@pytest.fixture(scope="session")
def ffmpeg() -> Callable[..., None]:
    return run_ffmpeg


@pytest.fixture(scope="session")
def film() -> Callable[..., Path]:
    return make_film

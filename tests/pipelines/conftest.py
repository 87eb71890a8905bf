"""Films of plain colours and models that name the colour: every truth is known by construction."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.models.endpoint import dialects
from fdvs.models.scripted import (
    GridImageEmbedder,
    HashTextEmbedder,
    ScriptedDescriber,
    ScriptedLanguageModel,
)
from fdvs.pipelines.library import Library
from fdvs.types import ClipView

from ..dialect_server import DialectServer, running_dialects

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 128, 0),
    "blue": (0, 0, 255),
    "white": (255, 255, 255),
    "black": (0, 0, 0),
    "yellow": (255, 255, 0),
}
Shots = Sequence[tuple[str, float]]
MakeFilm = Callable[[Path, Shots], Path]


def name_colour(view: ClipView) -> list[str]:
    """Say which colour the first picture has: 'A wall painted COLOUR fills the picture.'"""
    mean = view.frames[0].image.reshape(-1, 3).mean(axis=0)
    near = min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))
    return [f"A wall painted {near} fills the picture."]


@pytest.fixture(scope="session")
def make_film() -> MakeFilm:
    """Write a film of plain colours, one shot after another, a key frame at every cut."""
    import imageio_ffmpeg

    def make(path: Path, shots: Shots) -> Path:
        cuts, time_s = [], 0.0
        inputs: list[str] = []
        for colour, seconds in shots:
            r, g, b = COLOURS[colour]
            source = f"color=0x{r:02x}{g:02x}{b:02x}:size=64x48:rate=10:duration={seconds}"
            inputs += ["-f", "lavfi", "-i", source]
            cuts.append(f"{time_s:.3f}")
            time_s += seconds
        joined = f"concat=n={len(shots)}:v=1:a=0"
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs]
        command += ["-filter_complex", joined, "-force_key_frames", ",".join(cuts)]
        command += ["-c:v", "libx264", "-g", "1000", "-pix_fmt", "yuv420p", str(path)]
        subprocess.run(command, check=True)
        return path

    return make


@pytest.fixture
def models() -> dict[str, Any]:
    """Models that need no weights: colours named, words hashed, no language model."""
    return {
        "image_embedder": GridImageEmbedder(),
        "text_embedder": HashTextEmbedder(),
        "captioner": ScriptedDescriber(name_colour),
        "llm": ScriptedLanguageModel(lambda system, user: "The wall is painted."),
    }


@pytest.fixture
def dialect_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DialectServer]:
    """Imitated model servers at the addresses of their specs (`ollama:NAME`, ...)."""
    with running_dialects() as running:
        for name, one in list(dialects.DIALECTS.items()):
            monkeypatch.setitem(dialects.DIALECTS, name, replace(one, base_url=running.url(name)))
        for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY"):
            monkeypatch.setenv(name, "a-key-of-this-test")
        yield running


@pytest.fixture
def give_to_command_line(monkeypatch: pytest.MonkeyPatch) -> Callable[[Library], None]:
    """Let the command line use a library that is open, instead of opening one."""

    def give(library: Library) -> None:
        class Opened:
            def open(self, *_: Any, **__: Any) -> Opened:
                return self

            def __enter__(self) -> Library:
                return library

            def __exit__(self, *_: object) -> None:
                pass

        monkeypatch.setattr("fdvs.pipelines.cli.options.library_class", Opened)

    return give

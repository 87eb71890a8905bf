"""A build in a process of its own, with scripted models: `scripted_build.py LIBRARY FOLDER`.

Prints one JSON row per file, and decodes all sound as speech recognition would. What a hostile file
does to the process (a crash, a hang, gigabytes) is seen by the test that started it.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
from pathlib import Path

from fdvs.config import Config, PerceiveConfig
from fdvs.errors import FdvsError
from fdvs.models.describe.audio import TrackSound, audio_tracks
from fdvs.models.scripted import (
    GridImageEmbedder,
    HashTextEmbedder,
    ScriptedDescriber,
    ScriptedLanguageModel,
)
from fdvs.pipelines.library import Library

MAX_BYTES = 8 << 30


def colour_of(view: object) -> list[str]:
    mean = view.frames[0].image.mean(axis=(0, 1))  # type: ignore[attr-defined]
    red, green, blue = (int(value) // 32 for value in mean)
    return [f"A wall of red {red}, green {green} and blue {blue} fills the picture."]


MODELS = {
    "image_embedder": GridImageEmbedder(),
    "text_embedder": HashTextEmbedder(),
    "captioner": ScriptedDescriber(colour_of),
    "llm": ScriptedLanguageModel(lambda _system, _user: "The wall is painted [1]."),
}
CONFIG = Config(perceive=PerceiveConfig(sources=("subtitles",)))


def listen(path: Path) -> None:
    """Decode every sound track, as speech recognition does before it asks its model."""
    for track in audio_tracks(path):
        if track.has_decoder:
            for _ in TrackSound(path, track, origin_s=0.0).blocks():
                pass


def main() -> None:
    library, folder = map(Path, sys.argv[1:3])
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    with Library.open(library, config=CONFIG, models=MODELS) as opened:
        report = opened.build(folder)
    for row in report.rows:
        if row.status != "failed":
            with contextlib.suppress(FdvsError):
                listen(Path(row.path))
        row_json = [Path(row.path).name, row.status, row.reason, row.warnings]
        sys.stdout.write(json.dumps(row_json) + "\n")


if __name__ == "__main__":
    main()

"""Load model folders and use them, in a process of its own: `load_models.py SEEDS OUTSIDE`.

Writes valid folders below SEEDS first, if it is not there yet. Then it reads a JSON row (role,
backend, target) a line from standard input and answers each with one on standard output. What is
opened below OUTSIDE, programs that are started and connections count as escapes; a crash, a hang or
gigabytes are seen by the test that started it.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.errors import ConfigError, ModelError
from fdvs.models.cards import LoadSettings
from fdvs.models.factory import load_model
from fdvs.types import Clip, ClipView, Frame

_SEEDS = runpy.run_path(str(Path(__file__).with_name("model_seeds.py")))
make_seeds, seeds_in = _SEEDS["make_seeds"], _SEEDS["seeds_in"]
MAX_BYTES = 24 << 30
FORBIDDEN = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect")
escapes: list[str] = []


def watch(outside: str) -> None:
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in FORBIDDEN:
            escapes.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            path = os.path.realpath(os.fsdecode(arguments[0]))
            if path.startswith(outside):
                escapes.append(f"open {path}")

    sys.addaudithook(hook)


def use(role: str, model: Any) -> None:
    picture = np.zeros((32, 32, 3), np.uint8)
    if role == "llm":
        model.write("the notes", "what moves", max_tokens=3)
        model.read("the notes", "a car\n").write("what", max_tokens=2)
    elif role == "text_embedder":
        model.embed_texts(["a rabbit", ""])
    elif role == "image_embedder":
        model.embed_images([picture])
        model.embed_text_queries(["a rabbit"])
    else:
        clip = Clip(video_id="a" * 64, index=0, start_s=0.0, end_s=1.0)
        frames = (Frame(time_s=0.0, image=picture),)
        model.describe([ClipView(video_path=Path("film.mp4"), clip=clip, frames=frames)])


def answer(row: dict[str, str]) -> dict[str, Any]:
    escapes.clear()
    began_s = time.monotonic()
    outcome, text = "loaded", ""
    role: Any = row["role"]
    try:
        use(role, load_model(f"{row['backend']}:{row['target']}", role, LoadSettings()))
    except (ModelError, ConfigError) as error:
        outcome, text = "refused", str(error)
    except Exception as error:
        import traceback

        outcome, text = f"{type(error).__name__}", traceback.format_exc()[-1500:]
    seconds = time.monotonic() - began_s
    return {"outcome": outcome, "text": text, "seconds": seconds, "escapes": list(escapes)}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_BYTES, MAX_BYTES))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # packages print what they like
    seeds, outside = map(Path, sys.argv[1:])
    make_seeds(seeds)
    for role, backend, folder in seeds_in(seeds):  # what is compiled or read once is no escape
        answer({"role": role, "backend": backend, "target": str(folder)})
    answers.write("made\n")
    answers.flush()
    watch(str(outside.resolve()))
    for line in sys.stdin:
        answers.write(json.dumps(answer(json.loads(line))) + "\n")
        answers.flush()


main()

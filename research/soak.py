"""Let several processes work on one library for hours, kill them, and compare with a quiet build.

A folder of small films is changed at random: films come, go, are renamed, replaced, cut short and
made whole. Meanwhile builds, searches, questions, stories and removals run, several at once, and
some are killed. In the end the library must equal one that is built of the same folder in one go:
same rows, same stories, same vectors, nothing left over. All models are scripted.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np

from fdvs.config import Config
from fdvs.errors import FdvsError
from fdvs.models.scripted import (
    GridImageEmbedder,
    HashTextEmbedder,
    ScriptedDescriber,
    ScriptedLanguageModel,
)
from fdvs.pipelines.library import Library
from fdvs.store.store import Store
from fdvs.story.as_json import story_to_json

READS = ("search", "ask", "story", "list", "export")
ACTS = ("build", "build", "build", *READS, "remove")
KILLS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
DECLARED = 3  # exit status of an actor that met an error which the product declares
STORED = ("chapter", "chapter_vector", "story_vector", "frames", "scene_vector")
NUM_DIMS = 3
MAX_TOGETHER = 3


def make_film(path: Path, seed: int) -> None:
    """Write two to four shots of 3 s, each of one colour, 64x48 at 5 fps, by the seed."""
    rng = np.random.default_rng(seed)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=5, options={"g": "15", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for colour in rng.integers(0, 256, (int(rng.integers(2, 5)), NUM_DIMS)):
            picture = np.broadcast_to(colour.astype(np.uint8), (48, 64, NUM_DIMS))
            for _ in range(15):
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture))
                file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def scripted() -> dict[str, Any]:
    def describe(view: Any) -> list[str]:
        time.sleep(0.05)
        red, green, blue = (int(value) // 16 for value in view.frames[0].image.mean(axis=(0, 1)))
        return [f"A wall of red {red}, green {green} and blue {blue} fills the picture."]

    return {
        "image_embedder": GridImageEmbedder(batch_size=16),
        "text_embedder": HashTextEmbedder(),
        "captioner": ScriptedDescriber(describe, batch_size=2),
        "llm": ScriptedLanguageModel(lambda _system, _user: "The wall is painted [1]."),
    }


def act(what: str, library: Path, films: Path) -> int:
    """Do one thing as a process of its own; return its exit status."""
    try:
        with Library.open(library, config=Config(), models=scripted()) as opened:
            names = [row.name for row in opened.videos() if row.status == "ok"]
            if what == "build":
                opened.build(films)
            elif what == "search":
                opened.search("a red wall")
            elif what == "ask":
                opened.ask("Which colour has the wall?")
            elif names and what == "story":
                opened.story(random.choice(names))
            elif names and what == "export":
                opened.export(random.choice(names), "srt")
            elif names and what == "remove":
                opened.remove(random.choice(names))
    except FdvsError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return DECLARED
    return 0


@dataclass
class Soak:
    """What happens to one library, with the counts of what happened."""

    folder: Path
    rng: random.Random
    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    failures: list[str] = field(default_factory=list)
    running: list[tuple[subprocess.Popen[str], str, float, int]] = field(default_factory=list)
    whole: dict[Path, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pool = sorted((self.folder / "pool").glob("*.mp4"))
        self.films, self.library = self.folder / "films", self.folder / "library"

    def change(self) -> None:
        """Change the folder of films once."""
        here = sorted(self.films.glob("*.mp4"))
        what = self.rng.choice(["add", "add", "replace", "rename", "delete", "cut", "mend"])
        self.counts[f"film: {what}"] += 1
        new = self.films / f"film {self.rng.randrange(10_000)}.mp4"
        if what == "add" or not here:
            shutil.copy(self.rng.choice(self.pool), new)
            return
        path = self.rng.choice(here)
        if what == "replace":
            shutil.copy(self.rng.choice(self.pool), path)
        elif what == "rename":
            path.rename(new)
        elif what == "delete" and len(here) > 20:
            path.unlink()
        elif what == "cut":
            path.write_bytes(path.read_bytes()[: self.rng.randrange(1, 3000)])
        elif what == "mend":
            for one in here:
                if one.stat().st_size < 3000:
                    shutil.copy(self.rng.choice(self.pool), one)

    def start(self) -> None:
        """Start an actor; one in three will be killed."""
        what = self.rng.choice(ACTS)
        places = [str(self.library), str(self.films)]
        command = [sys.executable, "-P", __file__, "--act", what, *places]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        is_doomed = self.rng.random() < 1 / 3
        end_s = time.monotonic() + self.rng.uniform(0.2, 1.5) if is_doomed else 0.0
        self.running.append((process, what, end_s, self.rng.choice(KILLS)))

    def look(self) -> None:
        """Kill what is to be killed and count what has ended."""
        for entry in list(self.running):
            process, what, end_s, kill = entry
            if process.poll() is None and end_s and time.monotonic() > end_s:
                process.send_signal(kill)
                self.counts[f"kill: {what} by {signal.Signals(kill).name}"] += 1
                process.wait(60)
            if process.poll() is None:
                continue
            self.running.remove(entry)
            self._count(process, what, was_killed=bool(end_s))

    def _count(self, process: subprocess.Popen[str], what: str, *, was_killed: bool) -> None:
        errors = process.stderr.read() if process.stderr else ""
        code = process.returncode
        self.counts[f"end: {what} {code}"] += 1
        if code == DECLARED:
            self.counts[f"error: {errors.split(':')[0]}"] += 1
        is_kill = was_killed and (code < 0 or "KeyboardInterrupt" in errors)
        if code not in (0, DECLARED) and not is_kill:
            self.failures.append(f"{what} ended with {code}: {errors[-1500:]}")

    def run(self, minutes: float) -> None:
        end_s, told_s = time.monotonic() + 60 * minutes, time.monotonic()
        while time.monotonic() < end_s:
            self.change()
            if len(self.running) < MAX_TOGETHER:
                self.start()
            time.sleep(self.rng.uniform(0.0, 0.6))
            self.look()
            if time.monotonic() - told_s > 300:
                told_s = time.monotonic()
                print(json.dumps(dict(sorted(self.counts.items()))), flush=True)
        for process, *_ in self.running:
            process.wait(600)
        self.look()


def state(library: Path, films: Path) -> dict[str, Any]:
    """Return what a library holds of the files of a folder, names of videos left out."""
    found: dict[str, Any] = {}
    with (
        Library.open(library, config=Config(), models=scripted()) as opened,
        Store.open(library) as store,
    ):
        for row in opened.videos():
            if not Path(row.path).exists() or not Path(row.path).is_relative_to(films):
                continue
            held: dict[str, Any] = {"status": row.status, "id": row.video_id}
            if row.status == "ok" and row.video_id:
                story = story_to_json(opened.story(row.video_id))
                held["story"] = json.dumps(story, sort_keys=True).replace(row.name, "NAME")
                for stage in STORED:
                    parts = store.get_all(row.video_id, stage)
                    held[stage] = {item: part.vectors for item, part in parts.items()}
            found[row.path] = held
    return found


def differences(soaked: dict[str, Any], quiet: dict[str, Any]) -> list[str]:
    """Return a line for each file about which two libraries do not agree."""
    lines = [f"{path}: only in one" for path in soaked.keys() ^ quiet.keys()]
    for path in soaked.keys() & quiet.keys():
        one, two = soaked[path], quiet[path]
        if one.keys() != two.keys():
            lines.append(f"{path}: {one.get('status')} and {two.get('status')}")
            continue
        for key in one:
            if not _equal(one[key], two[key]):
                lines.append(f"{path}: {key} differs")
    return lines


def _equal(one: Any, two: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_equal(one[key], two[key]) for key in one)
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return one.shape == two.shape and bool(np.allclose(one, two, atol=1e-3))
    return bool(one == two)


def left_over(library: Path) -> list[str]:
    """Return files of a library's folder that nothing refers to."""
    with Store.open(library) as store:
        known = {record.video_id for record in store.videos()}
    found = [path for path in library.rglob("*") if path.is_file()]
    stray = [path for path in found if path.suffix == ".tmp"]
    thumbnails = [path for path in found if path.suffix in (".jpg", ".jpeg")]
    stray += [path for path in thumbnails if not known & set(path.relative_to(library).parts)]
    return [str(path) for path in stray]


def soak(folder: Path, minutes: float, num_films: int, seed: int) -> list[str]:
    """Run the whole thing; return what went wrong."""
    (folder / "pool").mkdir(parents=True)
    (folder / "films").mkdir()
    for number in range(num_films + num_films // 4):
        make_film(folder / "pool" / f"{number}.mp4", seed * 100_000 + number)
    for path in sorted((folder / "pool").glob("*.mp4"))[:num_films]:
        shutil.copy(path, folder / "films")
    run = Soak(folder, random.Random(seed))
    run.run(minutes)
    print(json.dumps(dict(sorted(run.counts.items()))), flush=True)
    for _ in range(2):
        if act("build", run.library, run.films):
            run.failures.append("the last build failed")
    act("build", folder / "quiet", run.films)
    soaked, quiet = state(run.library, run.films), state(folder / "quiet", run.films)
    print(f"{len(quiet)} files compared", flush=True)
    return [*run.failures, *differences(soaked, quiet), *left_over(run.library)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--act", nargs=3, metavar=("WHAT", "LIBRARY", "FILMS"))
    parser.add_argument("--folder", type=Path, help="a new folder for films and libraries")
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--films", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.act:
        what, library, films = given.act
        return act(what, Path(library), Path(films))
    failures = soak(given.folder, given.minutes, given.films, given.seed)
    print(f"{len(failures)} failures", *failures, sep="\n")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

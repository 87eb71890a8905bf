"""Print what each redundancy policy keeps in a library, for several bounds.

    fdvs build FOLDER --library L
    python scripts/tune_redundancy.py L --visual-floors 0.8,0.9 --textual-floors 0.6,0.7

Reads the embeddings that a build stored, so a sweep takes seconds and loads no model. The floors
of a preset were chosen this way: look at the similarities, choose on some videos, check on others.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from fdvs.config import Config, RedundancyConfig, TextualConfig
from fdvs.redundancy import Mask, Scores
from fdvs.store import Store
from fdvs.textual import keep_chapters, similarity_to_memory
from fdvs.types import Vectors
from fdvs.visual import keep_frames, similarity_to_key

PERCENTILES = (0, 10, 25, 50, 75, 90, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The stored embeddings of one video: [frames, D] per clip, [clips, D] of the chapters."""

    name: str
    video_id: str
    clips: tuple[Vectors, ...]
    chapters: Vectors

    def frame_scores(self) -> Scores:
        """Return all similarities to key frames, without the key frames' own."""
        return np.concatenate([similarity_to_key(v)[1:] for v in self.clips])

    def chapter_scores(self, memory: int) -> Scores:
        """Return all similarities to the memory, without the first chapter's."""
        return similarity_to_memory(self.chapters, memory=memory)[1:]

    def kept_frames(self, rule: RedundancyConfig) -> Mask:
        masks = [
            keep_frames(v, rule, salt=f"{self.video_id}/{i}") for i, v in enumerate(self.clips)
        ]
        return np.concatenate(masks)

    def kept_chapters(self, rule: TextualConfig) -> Mask:
        return keep_chapters(self.chapters, rule, salt=self.video_id)


def read_library(folder: Path) -> Iterator[Measured]:
    """Yield the videos of a library whose clips all have embeddings."""
    with Store.open(folder) as store:
        for video in store.videos():
            frames = store.get_all(video.video_id, "frames")
            chapters = store.get_all(video.video_id, "chapter_vector")
            if not frames or frames.keys() != chapters.keys():
                continue
            yield Measured(
                name=video.name,
                video_id=video.video_id,
                clips=tuple(v for i in sorted(frames) if (v := frames[i].vectors) is not None),
                chapters=np.concatenate(
                    [v for i in sorted(chapters) if (v := chapters[i].vectors) is not None]
                ),
            )


def show_scores(console: Console, title: str, rows: Sequence[tuple[str, Scores]]) -> None:
    table = Table(title=title)
    for column in ("video", "scores", *(f"{p} %" for p in PERCENTILES)):
        table.add_column(column)
    for name, scores in rows:
        values = np.percentile(scores, PERCENTILES) if len(scores) else []
        table.add_row(name, str(len(scores)), *(f"{v:.3f}" for v in values))
    console.print(table)


def show_rates(console: Console, title: str, rows: Sequence[tuple[str, Sequence[Mask]]]) -> None:
    """One line per rule: what it keeps of each video, and of all."""
    table = Table(title=title)
    table.add_column("rule")
    for label, masks in rows:
        everything = np.concatenate(masks)
        table.add_row(label, *(_share(mask) for mask in masks), _share(everything))
    console.print(table)


def _share(mask: Mask) -> str:
    return f"{100 * mask.mean():.0f} % ({mask.sum()}/{len(mask)})"


def visual_rules(floors: Sequence[float]) -> list[tuple[str, RedundancyConfig]]:
    default = Config().visual
    repaired = [
        (f"repaired {f}", RedundancyConfig(floor=f, identical=max(f, default.identical)))
        for f in floors
    ]
    fixed = [(f"threshold {f}", RedundancyConfig(policy="threshold", threshold=f)) for f in floors]
    return [("paper", RedundancyConfig(policy="paper")), *repaired, *fixed]


def textual_rules(floors: Sequence[float]) -> list[tuple[str, TextualConfig]]:
    default = Config().textual
    repaired = [
        (f"repaired {f}", TextualConfig(floor=f, identical=max(f, default.identical)))
        for f in floors
    ]
    fixed = [(f"threshold {f}", TextualConfig(policy="threshold", threshold=f)) for f in floors]
    return [("paper", TextualConfig(policy="paper")), *repaired, *fixed]


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--visual-floors", type=numbers, default=[0.7, 0.8, 0.85, 0.9, 0.95])
    parser.add_argument("--textual-floors", type=numbers, default=[0.5, 0.6, 0.7, 0.8, 0.9])
    options = parser.parse_args()
    console = Console(width=160)
    videos = list(read_library(options.library))
    if not videos:
        console.print(f"{options.library}: no built video; run: fdvs build PATH --library ...")
        return 1
    memory = Config().textual.memory
    show_scores(console, "frame to key frame", [(v.name, v.frame_scores()) for v in videos])
    show_scores(console, "chapter to memory", [(v.name, v.chapter_scores(memory)) for v in videos])
    console.print("columns:", ", ".join(v.name for v in videos), "and all")
    show_rates(
        console,
        "frames kept",
        [(n, [v.kept_frames(r) for v in videos]) for n, r in visual_rules(options.visual_floors)],
    )
    show_rates(
        console,
        "chapters kept",
        [
            (n, [v.kept_chapters(r) for v in videos])
            for n, r in textual_rules(options.textual_floors)
        ],
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

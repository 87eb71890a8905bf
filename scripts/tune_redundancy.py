"""Print what each redundancy policy keeps in a library, and what is lost, for several bounds.

    fdvs build FOLDER --library L
    python scripts/tune_redundancy.py L --labels efficientnet-lite0

Reads the embeddings and texts that a build stored, so a sweep takes seconds. A cell is
`kept / left / control`: the share of items kept, the share of what they told that is left, and
the same for a random choice of as many items (the mean of five). What frames told is the labels
that a classifier is sure enough of (only with --labels, the embedder that built the library);
what chapters told is their words. The floors of the offline preset were chosen this way, on some
videos, and checked on the others: docs/decisions/004-redundancy-rules.md.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fdvs.config import Config, RedundancyConfig, TextualConfig
from fdvs.linking import content_words
from fdvs.redundancy import Mask
from fdvs.store import Artifact, Store
from fdvs.textual import keep_chapters
from fdvs.types import Vectors
from fdvs.visual import keep_frames

NUM_DRAWS = 5
LEAST_PROBABILITY = 0.25
MIN_CLIPS_TO_HALVE = 40

Told = list[frozenset[str]]  # what each item of a list tells


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One list that a rule works on (the frames of a clip, the chapters of a video)."""

    salt: str
    vectors: Vectors
    told: Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One video, or half of one."""

    name: str
    clips: list[Listed]
    chapters: list[Listed]


def rows_of(found: dict[int, Artifact]) -> list[Vectors]:
    return [v for i in sorted(found) if (v := found[i].vectors) is not None]


def read_library(
    folder: Path, labels: Callable[[Vectors], Told], *, in_halves: bool
) -> Iterator[Measured]:
    """Yield the videos of a library that are built; long ones as two halves if asked."""
    with Store.open(folder) as store:
        for video in store.videos():
            clips = rows_of(store.get_all(video.video_id, "frames"))
            chapters = store.get_all(video.video_id, "chapter")
            vectors = rows_of(store.get_all(video.video_id, "chapter_vector"))
            if not clips or not len(clips) == len(chapters) == len(vectors):
                continue
            texts = [str(chapters[i].payload["text"]) for i in sorted(chapters)]
            num_parts = 2 if in_halves and len(clips) >= MIN_CLIPS_TO_HALVE else 1
            for part in np.array_split(np.arange(len(clips)), num_parts):
                first = int(part[0])
                yield Measured(
                    name=video.name if num_parts == 1 else f"{video.name} from clip {first}",
                    clips=[
                        Listed(
                            salt=f"{video.video_id}/{i}", vectors=clips[i], told=labels(clips[i])
                        )
                        for i in part
                    ],
                    chapters=[
                        Listed(
                            salt=video.video_id,
                            vectors=np.concatenate([vectors[i] for i in part]),
                            told=[frozenset(content_words(texts[i])) for i in part],
                        )
                    ],
                )


def labels_by(model: str | None) -> Callable[[Vectors], Told]:
    """Return what names the things in frames by their vectors; without a model, nothing."""
    if model is None:
        return lambda vectors: [frozenset()] * len(vectors)
    from fdvs.models.cards import LoadSettings
    from fdvs.models.factory import load_image_embedder

    embedder: Any = load_image_embedder(model, LoadSettings())

    def labels(vectors: Vectors) -> Told:
        named = embedder.labels(vectors)
        return [frozenset(n for n, p in row if p >= LEAST_PROBABILITY) for row in named]

    return labels


def share_left(lists: Sequence[Listed], masks: Sequence[Mask]) -> float:
    """Return the share of what the items of each list tell that the kept ones still tell."""
    num_told = num_left = 0
    for items, mask in zip(lists, masks, strict=True):
        everything: frozenset[str] = frozenset().union(*items.told)
        kept = frozenset().union(*(t for t, keep in zip(items.told, mask, strict=True) if keep))
        num_told += len(everything)
        num_left += len(kept & everything)
    return num_left / num_told if num_told else 1.0


def drawn(mask: Mask, key: str, *, keeps_first: bool) -> Mask:
    """Return a random mask with as many kept; the control keeps the first where the rule must."""
    generator = random.Random(key)
    first = 1 if keeps_first else 0
    chosen = generator.sample(range(first, len(mask)), int(mask.sum()) - first)
    control = np.zeros(len(mask), dtype=np.bool_)
    control[[*range(first), *chosen]] = True
    return control


def cell(lists: Sequence[Listed], masks: Sequence[Mask], *, keeps_first: bool) -> str:
    num_kept, num_items = sum(int(m.sum()) for m in masks), sum(map(len, masks))
    controls = [
        share_left(
            lists,
            [drawn(m, f"{draw}{i}", keeps_first=keeps_first) for i, m in enumerate(masks)],
        )
        for draw in range(NUM_DRAWS)
    ]
    left = share_left(lists, masks)
    return f"{num_kept / num_items:.2f} / {left:.3f} / {np.mean(controls):.3f}"


def rules(default: RedundancyConfig, floors: Sequence[float]) -> dict[str, Any]:
    """Return the rules to compare, by label."""
    found: dict[str, Any] = {"paper": replace(default, policy="paper")}
    for floor in floors:
        identical = max(floor, default.identical)
        found[f"repaired {floor}"] = replace(default, floor=floor, identical=identical)
    for floor in floors:
        found[f"threshold {floor}"] = replace(default, policy="threshold", threshold=floor)
    return found


def show(
    console: Console,
    title: str,
    videos: Sequence[Measured],
    lists_of: Callable[[Measured], list[Listed]],
    keep: Callable[..., Mask],
    compared: dict[str, Any],
) -> None:
    """Print one row per rule, one column per video."""
    table = Table(title=f"{title}: kept / left / control")
    for column in ("rule", *(v.name for v in videos)):
        table.add_column(column, overflow="fold")
    for label, rule in compared.items():
        cells = []
        for video in videos:
            lists = lists_of(video)
            masks = [keep(items.vectors, rule, salt=items.salt) for items in lists]
            cells.append(cell(lists, masks, keeps_first=rule.policy != "paper"))
        table.add_row(label, *cells)
    console.print(table)


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    visual, textual = Config().visual, Config().textual
    parser = argparse.ArgumentParser(description="What redundancy rules keep in a library.")
    parser.add_argument("library", type=Path)
    parser.add_argument("--labels", help="classifier that names what frames show (a card's name)")
    parser.add_argument("--halves", action="store_true", help="show the halves of long videos")
    parser.add_argument("--visual-floors", type=numbers, default=[0.7, 0.8, 0.85, 0.9, 0.95])
    parser.add_argument("--visual-identical", type=float, default=visual.identical)
    parser.add_argument("--textual-floors", type=numbers, default=[0.6, 0.7, 0.75, 0.8, 0.85])
    parser.add_argument("--textual-identical", type=float, default=textual.identical)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    console = Console(width=180)
    labels = labels_by(options.labels)
    videos = list(read_library(options.library, labels, in_halves=options.halves))
    if not videos:
        console.print(f"{options.library}: no built video; run: fdvs build PATH --library ...")
        return 1
    for_frames = RedundancyConfig(floor=-1, identical=options.visual_identical)
    for_chapters = TextualConfig(floor=-1, identical=options.textual_identical)
    compared = rules(for_frames, options.visual_floors)
    show(console, "frames", videos, lambda v: v.clips, keep_frames, compared)
    compared = rules(for_chapters, options.textual_floors)
    show(console, "chapters", videos, lambda v: v.chapters, keep_chapters, compared)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

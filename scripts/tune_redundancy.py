"""Print what each redundancy policy keeps in a library, and what is lost, for several bounds.

    fdvs build FOLDER --library L
    python scripts/tune_redundancy.py L --labels efficientnet-lite0

Reads the embeddings and texts that a build stored, so a sweep takes seconds. A cell is
`kept / left / control`: the share of items kept, the share of what they told that is left, and
the same for a random choice of as many items (the mean of 200). What frames told is the labels
that a classifier is sure enough of (only with --labels, the embedder that built the library);
what chapters told is their words. All videos pooled stand last, with the interval of the gain over
chance (bootstrap over videos). See docs/decisions/004 and 015.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from fdvs.config import RedundancyConfig, TextualConfig
from fdvs.metrics.redundancy import KeptList, RedundancyScore, redundancy_score
from fdvs.redundancy.chapters import keep_chapters
from fdvs.redundancy.frames import keep_frames
from fdvs.redundancy.rules import Mask, Rule
from fdvs.store.store import Artifact, Store
from fdvs.story.linking import content_words
from fdvs.types import Vectors

NUM_DRAWS = 200
LEAST_PROBABILITY = 0.25
MIN_CLIPS_TO_HALVE = 40

Told = list[frozenset[str]]  # what each item of a list tells


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Listed:
    """One list that a rule works on (the frames of a clip, the chapters of a video)."""

    salt: str
    vectors: Vectors
    told: Told


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
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


def judged(
    video: Measured, listed: Sequence[Listed], keep: Callable[..., Mask], rule: RedundancyConfig
) -> list[KeptList]:
    """Apply a rule to the lists; a random choice keeps the first where the rule must."""
    return [
        KeptList(
            told=items.told,
            kept=keep(items.vectors, rule, salt=items.salt),
            group=video.name,
            forced=() if rule.policy == "paper" else (0,),
        )
        for items in listed
    ]


def scored(lists: Sequence[KeptList]) -> RedundancyScore | None:
    """Return what is left beside chance, or None where nothing is told."""
    if not any(told for one in lists for told in one.told):
        return None
    return redundancy_score(lists, num_draws=NUM_DRAWS)


def cell(lists: Sequence[KeptList]) -> str:
    kept = f"{sum(int(one.kept.sum()) for one in lists) / sum(len(one.told) for one in lists):.2f}"
    found = scored(lists)
    return kept if found is None else f"{kept} / {found.left.value:.3f} / {found.left.mean:.3f}"


def gain(lists: Sequence[KeptList]) -> str:
    found = scored(lists)
    if found is None:
        return "nothing is told"
    bounds = found.gain.bounds
    interval = f" ({bounds[0]:.3f} to {bounds[1]:.3f})" if bounds else ""
    return f"{found.gain.value:+.3f}{interval}"


def rules(default: Rule, floors: Sequence[float]) -> dict[str, Rule]:
    """Return the rules to compare, by label: the paper's, and each policy with every floor."""
    found = {"paper": replace(default, policy="paper")}
    for floor in floors:
        found[f"cover {floor}"] = replace(default, policy="cover", floor=floor)
    return found


def show(
    console: Console,
    title: str,
    videos: Sequence[Measured],
    lists_of: Callable[[Measured], list[Listed]],
    keep: Callable[..., Mask],
    compared: Mapping[str, RedundancyConfig],
) -> None:
    """Print one row per rule, one column per video, and all of them pooled."""
    table = Table(title=f"{title}: kept / left / control")
    for column in ("rule", *(v.name for v in videos), "all", "gain"):
        table.add_column(column, overflow="fold")
    for label, rule in compared.items():
        lists = [judged(video, lists_of(video), keep, rule) for video in videos]
        pooled = [one for of_video in lists for one in of_video]
        cells = [cell(of_video) for of_video in (*lists, pooled)]
        table.add_row(label, *cells, gain(pooled))
    console.print(table)


def numbers(text: str) -> list[float]:
    return [float(part) for part in text.split(",")]


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What redundancy rules keep in a library.")
    parser.add_argument("library", type=Path)
    parser.add_argument("--labels", help="classifier that names what frames show (a card's name)")
    parser.add_argument("--halves", action="store_true", help="show the halves of long videos")
    parser.add_argument("--visual-floors", type=numbers, default=[0.8, 0.85, 0.9, 0.95, 0.98])
    parser.add_argument("--textual-floors", type=numbers, default=[0.7, 0.8, 0.84, 0.9, 0.95, 0.98])
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    options = arguments(argv)
    console = Console(width=180)
    labels = labels_by(options.labels)
    videos = list(read_library(options.library, labels, in_halves=options.halves))
    if not videos:
        console.print(f"{options.library}: no built video; run: fdvs build PATH --library ...")
        return 1
    for_frames = RedundancyConfig()
    for_chapters = TextualConfig()
    frame_rules = rules(for_frames, options.visual_floors)
    show(console, "frames", videos, lambda v: v.clips, keep_frames, frame_rules)
    chapter_rules = rules(for_chapters, options.textual_floors)
    show(console, "chapters", videos, lambda v: v.chapters, keep_chapters, chapter_rules)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

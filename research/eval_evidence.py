"""Measure when "not in the evidence" is said, and whether citations carry what they are put to.

    python research/eval_evidence.py --data FOLDER --cache vectors.sqlite --csv evidence.csv --json

FOLDER holds nextqa/ (questions and published captions). Videos are parted in two by a hash of their
id: `chosen` is where bounds and weights may be chosen, `reported` is where they are measured. Every
question is asked of its own video and of another one of the same half. Rows hold ids and numbers,
never text. Intervals are bootstraps over videos.

Refusal: the fit of question and passages (`fdvs.answers.fit`), with options and without, against
the settings' bounds, and as a curve over all bounds. An open question that names nothing ("where is
this video taken") holds for any video and is never refused: other videos' questions are counted
with and without those. Support: sentences of captions against the other captions of their video,
and against another video. Citations: the chapter that carries "question + right option" best by one
signal (embedding or words), scored by the other, against a random chapter of the same video.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from fdvs.answers.evidence import Evidence, make_evidence
from fdvs.answers.fit import GENERIC_FIT, Answerability, everyday_sentences
from fdvs.answers.question import Question
from fdvs.answers.support import chapter_support
from fdvs.config import AskConfig
from fdvs.datasets.examples import ChoiceQuestion, Split
from fdvs.datasets.registry import load_split
from fdvs.metrics.interval import Interval, interval_of_difference, interval_of_mean
from fdvs.pipelines.evaluation.choice import passages_of
from fdvs.text.sentences import split_sentences
from fdvs.types import Vectors

TRUE_REFUSED = 0.08  # of the true questions of the chosen half, at the bounds proposed
CURVE = (0.05, 0.1, 0.15, 0.2)  # shares of the true questions refused
OTHER_SUPPORTED = 0.05  # of other videos' sentences, at the support proposed
HALVES = ("chosen", "reported")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement: what, on which item of which video, true or control, and the number."""

    measure: str
    half: str
    item: str
    video: str
    kind: str
    value: float


class InMemory:
    """A text embedder that has been asked for everything beforehand, in one go."""

    def __init__(self, embedder: Any, texts: Sequence[str]) -> None:
        self.identity = embedder.identity
        self._embedder = embedder
        known = list(dict.fromkeys(texts))
        self._rows = dict(zip(known, embedder.embed_texts(known), strict=True))

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), D]."""
        for text in texts:
            if text not in self._rows:
                self._rows[text] = self._embedder.embed_texts([text])[0]
        return np.stack([self._rows[text] for text in texts])


def half_of(video_id: str) -> str:
    """Return the half of a video; salted, since the files at hand may be a half by hash, too."""
    digest = hashlib.sha256(f"evidence {video_id}".encode()).digest()
    return HALVES[digest[0] % 2]


def materials(split: Split, embedder: Any) -> dict[str, Evidence]:
    """Return the sentences of each video's captions, a caption being a chapter."""
    return {
        video_id: make_evidence(passages_of(video_id, captions), embedder)
        for video_id, captions in split.captions.items()
    }


def others(questions: Sequence[ChoiceQuestion]) -> dict[str, str]:
    """Return for each question another video of the same half, always the same one."""
    by_half: dict[str, list[str]] = {half: [] for half in HALVES}
    for video_id in sorted({question.video_id for question in questions}):
        by_half[half_of(video_id)].append(video_id)
    found = {}
    for q in questions:
        rest = [v for v in by_half[half_of(q.video_id)] if v != q.video_id]
        found[q.id] = random.Random(q.id).choice(rest)
    return found


def fit_rows(
    questions: Sequence[ChoiceQuestion], material: dict[str, Evidence], judge: Answerability
) -> Iterator[Row]:
    """Yield the fit of every question to its own video ("true") and to another ("other")."""
    other = others(questions)
    pairs = [(q.video_id, "true", q) for q in questions]
    pairs += [(other[q.id], "other", q) for q in questions]
    for video_id, kind, q in sorted(pairs, key=lambda pair: (pair[0], pair[1], pair[2].id)):
        base = {"half": half_of(q.video_id), "item": q.id, "video": q.video_id, "kind": kind}
        value = judge.fit(Question.of(q.question), material[video_id])
        yield Row(measure="fit", value=value, **base)
        value = judge.fit(Question.of(q.question, q.options), material[video_id])
        yield Row(measure="choice fit", value=value, **base)


def support_rows(material: dict[str, Evidence], embedder: Any) -> Iterator[Row]:
    """Yield the support of a caption's sentence by its video's other captions, and by another's."""
    names = sorted(material)
    for video_id in names:
        rng = random.Random(f"support {video_id}")
        same_half = [v for v in names if v != video_id and half_of(v) == half_of(video_id)]
        for number in range(2):
            passage = rng.choice(material[video_id].passages)
            pairs = (("true", video_id), ("other", rng.choice(same_half)))
            for kind, place in pairs:
                found = chapter_support([passage.text], material[place], embedder)
                support = found.both[0]
                keep = [key != (video_id, passage.chapter) for key in found.chapters]
                if any(keep):
                    yield Row(
                        measure="support",
                        half=half_of(video_id),
                        item=f"{video_id}-{number}",
                        video=video_id,
                        kind=kind,
                        value=float(support[np.array(keep)].max()),
                    )


def citation_rows(
    questions: Sequence[ChoiceQuestion], material: dict[str, Evidence], embedder: Any
) -> Iterator[Row]:
    """Yield the words' support of the chapter cited by meaning, and the other way round."""
    by_video: dict[str, list[ChoiceQuestion]] = {}
    for q in questions:
        if q.answer is not None:
            by_video.setdefault(q.video_id, []).append(q)
    for video_id, group in by_video.items():
        said = [Question.of(q.question, q.options).fit_statements[q.answer or 0] for q in group]
        found = chapter_support(said, material[video_id], embedder)
        if len(found.chapters) < 2:
            continue
        for q, meaning, words, both in zip(
            group, found.meaning, found.words, found.both, strict=True
        ):
            pairs = {
                "by meaning, words": (meaning, words),
                "by words, meaning": (words, meaning),
                "by both, both": (both, both),
            }
            for name, (cite, check) in pairs.items():
                cited = int(cite.argmax())
                rest = [i for i in range(len(cite)) if i != cited]
                chance = random.Random(f"{name} {q.id}").choice(rest)
                for kind, place in (("cited", cited), ("random", chance)):
                    yield Row(
                        measure=f"citation {name}",
                        half=half_of(video_id),
                        item=q.id,
                        video=video_id,
                        kind=kind,
                        value=round(float(check[place]), 4),
                    )


def by_kind(rows: Sequence[Row], measure: str, half: str, kind: str) -> tuple[Any, list[str]]:
    """Return the values of a measure and the videos that they belong to."""
    found = [r for r in rows if (r.measure, r.half, r.kind) == (measure, half, kind)]
    return np.array([r.value for r in found]), [r.video for r in found]


def proposed(rows: Sequence[Row]) -> dict[str, float]:
    """Return the bounds that the chosen half proposes."""
    bounds = {
        measure: float(np.quantile(by_kind(rows, measure, "chosen", "true")[0], TRUE_REFUSED))
        for measure in ("fit", "choice fit")
    }
    others_of = by_kind(rows, "support", "chosen", "other")[0]
    return bounds | {"support": float(np.quantile(others_of, 1 - OTHER_SUPPORTED))}


def curve(rows: Sequence[Row], measure: str) -> dict[str, Any]:
    """Return what is refused of other videos' questions where some share of the true ones is.

    The bounds are quantiles of the reported half itself: a curve, not what a user gets.
    """
    true, _ = by_kind(rows, measure, "reported", "true")
    made = {}
    for share in CURVE:
        bound = float(np.quantile(true, share))
        made[f"{measure}: other refused where {share:.0%} of the true are"] = below(
            rows, measure, "other", bound
        )
    return made


def below(
    rows: Sequence[Row], measure: str, kind: str, bound: float, *, named: bool = False
) -> dict[str, Any]:
    """Return the share of the reported half below a bound; `named`: of what can be below any."""
    found = [r for r in rows if (r.measure, r.half, r.kind) == (measure, "reported", kind)]
    found = [r for r in found if r.value < GENERIC_FIT or not named]
    return with_bounds(
        interval_of_mean([float(r.value < bound) for r in found], [r.video for r in found])
    )


def with_bounds(found: Interval) -> dict[str, Any]:
    """Return an interval as JSON."""
    low, high = found.bounds or (float("nan"), float("nan"))
    return {
        "value": round(found.value, 4),
        "low": round(low, 4),
        "high": round(high, 4),
        "num_items": found.num_items,
        "num_videos": found.num_groups,
    }


def report(rows: Sequence[Row], config: AskConfig) -> dict[str, Any]:
    """Return what the settings do on the reported half."""
    bounds = {
        "fit": config.min_fit, "choice fit": config.min_choice_fit, "support": config.min_support,
    }  # fmt: skip
    made: dict[str, Any] = {"proposed": proposed(rows), "bounds": bounds}
    for measure, bound in bounds.items():
        for kind in ("true", "other"):
            made[f"{measure}: {kind} below the bound"] = below(rows, measure, kind, bound)
    made["fit: other below the bound, of those that name something"] = below(
        rows, "fit", "other", config.min_fit, named=True
    )
    made |= curve(rows, "fit") | curve(rows, "choice fit")
    for measure in sorted({r.measure for r in rows if r.measure.startswith("citation")}):
        cited, videos = by_kind(rows, measure, "reported", "cited")
        chance, _ = by_kind(rows, measure, "reported", "random")
        made[measure] = {
            "cited": round(float(cited.mean()), 4),
            "random": round(float(chance.mean()), 4),
            "difference": with_bounds(interval_of_difference(cited, chance, videos)),
        }
    return made


def measured(data: Path, cache: Path, path: Path | None) -> list[Row]:
    """Return every measurement on the questions and captions of a folder.

    They are written to `path` after each part, so that a run that is cut off leaves what it has.
    """
    from fdvs.config import Config
    from fdvs.pipelines.evaluation.vectors import StoredEmbedder
    from fdvs.pipelines.model_set import ModelSet

    parts = ModelSet(Config())
    stored = StoredEmbedder(
        lambda: parts.text_embedder,
        identity=parts.identity("text_embedder"),
        fingerprint=parts.fingerprint("text_embedder"),
        path=cache,
    )
    split = load_split("nextqa", data / "nextqa", allow_partial=True)
    questions = [q for q in split.choices if q.video_id in split.captions]
    embedder = InMemory(
        stored,
        [
            *everyday_sentences(),
            *(s for captions in split.captions.values() for c in captions
              for s in split_sentences(c.text)),
            *(Question.of(q.question).fit_statement for q in questions),
            *(s for q in questions for s in Question.of(q.question, q.options).fit_statements),
        ],
    )  # fmt: skip
    material = materials(split, embedder)
    print(f"{len(questions)} questions, {len(material)} videos", file=sys.stderr, flush=True)
    rows: list[Row] = []
    for name, part in (
        ("fit", fit_rows(questions, material, Answerability(embedder))),
        ("citations", citation_rows(questions, material, embedder)),
        ("support", support_rows(material, embedder)),
    ):
        rows += part
        if path:
            write_rows(rows, path)
        print(f"{name}: measured", file=sys.stderr, flush=True)
    return rows


def write_rows(rows: Sequence[Row], path: Path) -> None:
    """Write every measurement."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([field.name for field in fields(Row)])
        writer.writerows([r.measure, r.half, r.item, r.video, r.kind, r.value] for r in rows)


def read_rows(path: Path) -> list[Row]:
    """Return the measurements of a file that `write_rows` made."""
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    return [Row(**(row | {"value": float(row["value"])})) for row in found]  # type: ignore[arg-type]


def write_report(made: dict[str, Any], path: Path) -> None:
    """Write the report as a table: one line a number."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("measure", "value", "low", "high", "num_items", "num_videos"))
        for name, value in made.items():
            if "value" in value:
                writer.writerow((name, *value.values()))
                continue
            for part, number in value.items():
                if isinstance(number, dict):
                    writer.writerow((f"{name}: {part}", *number.values()))
                else:
                    writer.writerow((f"{name}: {part}", round(number, 4), "", "", "", ""))


def main() -> int:
    """Measure (or read what was measured), write and print the report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder that holds nextqa/")
    parser.add_argument("--cache", type=Path, help="file of vectors, made if absent")
    parser.add_argument("--rows", type=Path, help="write every measurement (ids and numbers)")
    parser.add_argument("--from-rows", type=Path, help="report on such a file, measure nothing")
    parser.add_argument("--csv", type=Path, help="write the report as a table")
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    options = parser.parse_args()
    from fdvs.config import Config

    if options.from_rows:
        rows = read_rows(options.from_rows)
    elif options.data and options.cache:
        rows = measured(options.data, options.cache, options.rows)
    else:
        parser.error("give --data and --cache, or --from-rows")
    made = report(rows, Config().ask)
    if options.csv:
        write_report(made, options.csv)
    for name, value in made.items():
        print(f"{name}: {json.dumps(value)}")
    if options.json:
        print(json.dumps(made))
    return 0


if __name__ == "__main__":
    sys.exit(main())

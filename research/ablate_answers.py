"""Ablate what multiple-choice answers rest on, with the same models throughout.

    python research/ablate_answers.py --data FOLDER --row egoschema --csv answers_ablation.csv
        [--sample N] [--attention-sample N --llm CARD|MODEL.gguf --dtype TYPE --attention NAME...]

`evidence` rows (no language model): all captions flat, the story alone, the story with the nearest
captions, captions alone; captions after each redundancy rule beside random drop at the same rate.
`attention` rows: the same questions with all captions flat in one prompt, read by a language model
with full attention, grouped attention (DGA) and a window alone. Rows hold numbers, no text, and
are written as they come. A sample takes whole videos, in the order of a hash of their ids.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import csv_rows
from caption_study import read_videos, redundancy_rows
from paper_tables import table_xvii

from fdvs.answers.choice.background import make_background
from fdvs.answers.choice.by_evidence import EvidenceChooser
from fdvs.answers.choice.by_likelihood import LlmChooser
from fdvs.answers.question import Question
from fdvs.config import TextualConfig
from fdvs.datasets.examples import Split
from fdvs.kernels.dga import DGAConfig
from fdvs.metrics.interval import interval_of_mean
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.choice import CaptionMaterial, passages_of, sample_of
from fdvs.pipelines.evaluation.job import Job
from fdvs.pipelines.evaluation.run import split_of
from fdvs.pipelines.evaluation.suite import with_llm
from fdvs.pipelines.evaluation.vectors import stored_embedder
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.presets import preset
from fdvs.protocols import PrefillLanguageModel, TextEmbedder

COLUMNS = (
    "dataset", "what", "name", "right", "right_interval", "kept", "right_random",
    "right_gain", "right_gain_interval", "num_passages", "prompt_tokens", "seconds",
    "num_questions", "num_videos", "model",
)  # fmt: skip
OURS = TextualConfig(policy="cover", floor=0.95)
RULES = {
    "none": TextualConfig(policy="none"),
    "paper": TextualConfig(policy="paper"),
    "cover 0.95": OURS,
}
NUM_EVIDENCE = (0, 5, 20)
ATTENTION = {"full": "sdpa", "dga": "dga", "window": "dga"}
NUM_DRAWS = 3
ALL_CHARS = 1_000_000
# from the first token on: the default of loaded models is exact up to 2,048
GROUPED = DGAConfig()
# the window alone, and one token of each chunk by chance: none is chosen for its importance
WINDOW = DGAConfig(pool=False, score="random", importance_rate=0.0, group_size=160, sinks=1)

logger = logging.getLogger(__name__)


def sampled(split: Split, num: int | None) -> Split:
    """Return the split with `sample_of` its questions, named so; all of them where None."""
    taken = sample_of(split.choices, len(split.choices) if num is None else num)
    if len(taken) == len(split.choices):
        return split
    ids = {question.id for question in taken}
    return replace(
        split,
        name=f"{split.name}, sample of {len(taken)} questions by hash of the video",
        is_partial=True,
        choices=tuple(question for question in split.choices if question.id in ids),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table; return 0."""
    options = _options(arguments)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    config = preset("offline")
    job = Job(
        row=row_named(options.row), data=options.data, out=options.out / options.row,
        config=config, allow_partial=True,
    )  # fmt: skip
    job.out.mkdir(parents=True, exist_ok=True)
    split = split_of(job)
    embedder = stored_embedder(job)
    if options.sample:
        for row in evidence_rows(sampled(split, options.sample), embedder):
            csv_rows.append([_plain({"dataset": split.dataset, **row})], options.csv, COLUMNS)
    if options.attention_sample:
        few = sampled(split, options.attention_sample)
        for row in attention_rows(few, embedder, readers(options)):
            csv_rows.append([_plain({"dataset": split.dataset, **row})], options.csv, COLUMNS)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--row", choices=("egoschema", "nextqa"), default="egoschema")
    parser.add_argument("--sample", type=int, default=10**6, help="questions; 0 for none")
    parser.add_argument("--attention-sample", type=int, default=0, metavar="N")
    parser.add_argument("--attention", nargs="+", choices=tuple(ATTENTION), default=list(ATTENTION))
    parser.add_argument("--llm", metavar="CARD|MODEL.gguf", help="of the attention rows")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--out", type=Path, default=Path("fdvs-eval-answers"), metavar="FOLDER")
    parser.add_argument("--csv", type=Path, required=True, metavar="FILE")
    return parser.parse_args(arguments)


def evidence_rows(split: Split, embedder: TextEmbedder) -> Iterator[dict[str, Any]]:
    """Yield what the evidence alone answers right from the whole, from the story, from parts."""
    told = split.captions.items()
    passages = [p for video_id, captions in told for p in passages_of(video_id, captions)]
    chooser = EvidenceChooser(embedder, background=make_background(passages, embedder))
    videos = read_videos(split, embedder)
    for row in table_xvii(videos, chooser, embedder, numbers=NUM_EVIDENCE, rule=OURS):
        yield {"what": "evidence", **row}
    for name, rule in RULES.items():
        (row,) = redundancy_rows(videos, chooser, rules={name: rule}, num_draws=NUM_DRAWS)
        yield {"what": "redundancy", "name": name, **row}


def readers(options: argparse.Namespace) -> Iterator[tuple[str, PrefillLanguageModel]]:
    """Yield the language model under each attention, one loaded at a time."""
    config = with_llm(preset("offline"), options.llm)
    config = replace(config, models=replace(config.models, dtype=options.dtype))
    for name in options.attention:
        ask = replace(config.ask, attention=cast(Any, ATTENTION[name]))
        reader: Any = ModelSet(replace(config, ask=ask)).llm
        if ATTENTION[name] == "dga":
            from fdvs.models.llm.attention import enable

            enable(reader.model, WINDOW if name == "window" else GROUPED)
        yield name, reader


def attention_rows(
    split: Split, embedder: TextEmbedder, named: Iterator[tuple[str, PrefillLanguageModel]]
) -> Iterator[dict[str, Any]]:
    """Yield what a language model alone answers right from all captions in one prompt."""
    questions = sample_of(split.choices, len(split.choices))
    for name, reader in named:
        chooser = LlmChooser(reader, embedder, evidence_chars=ALL_CHARS)
        material = CaptionMaterial(split.captions, embedder)
        choices = [
            chooser.choose(Question.of(one.question, one.options), material.of_video(one.video_id))
            for one in questions
        ]
        right = [float(c.chosen == q.answer) for c, q in zip(choices, questions, strict=True)]
        found = interval_of_mean(right, [one.video_id for one in questions])
        yield {
            "what": "attention",
            "name": name,
            "right": round(found.value, 4),
            "right_interval": found.bounds,
            "prompt_tokens": round(sum(c.num_prompt_tokens for c in choices) / len(choices)),
            "seconds": round(sum(c.seconds for c in choices) / len(choices), 2),
            "num_questions": len(questions),
            "num_videos": found.num_groups,
            "model": reader.identity.label().rsplit("/", 1)[-1],  # of a file its name, no folder
        }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with intervals as words."""
    return {
        name: " to ".join(f"{bound:.4f}" for bound in value)
        if isinstance(value, (list, tuple))
        else value
        for name, value in row.items()
    }


if __name__ == "__main__":
    sys.exit(main())

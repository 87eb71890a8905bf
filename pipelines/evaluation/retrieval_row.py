"""Rows of retrieval: whole videos by a paragraph or sentence, and partially relevant videos.

Takes a split's queries and words about its videos; returns the score of `fdvs.search.gallery` with
its floor (TF-IDF), simpler rankings as controls, and the score with another video's words. Vectors
are stored on disk, since embedding takes most of the time: an interrupted run goes on.

Where settings were chosen on some videos of a dataset, the held-out videos are also reported alone:
as a gallery of their own (`held_out`), and as queries among all videos (`held_out_in_all`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from fdvs.datasets.examples import Split
from fdvs.metrics.interval import interval_of_difference, interval_of_mean
from fdvs.metrics.retrieval import Ranks, retrieval_score, rsum
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.result import EvalResult
from fdvs.pipelines.evaluation.retrieval_gallery import (
    Task,
    first_held_out,
    held_out_ids,
    task_of,
)
from fdvs.pipelines.evaluation.retrieval_methods import (
    FLOOR,
    OTHER_VIDEO,
    OURS,
    Contest,
    Outcome,
    hold,
    strongest_plain,
)
from fdvs.pipelines.evaluation.vectors import stored_embedder
from fdvs.pipelines.record_log import open_records
from fdvs.protocols import TextEmbedder
from fdvs.search.gallery import PARTS_SHARE, Fusion

PREDICTIONS = "predictions.jsonl"
STORY = "story_alone"
QUICK_VIDEOS = 300
VERSION = 1


def run(job: Job, split: Split, texts: Texts) -> EvalResult:
    """Evaluate one row of retrieval or PRVR.

    Raises NotFound where no query is about a video with words, StoreError where the kept vectors
    are damaged.
    """
    task = _quick(task_of(split, texts), split) if job.quick else task_of(split, texts)
    embedder = stored_embedder(job)
    fusion = Fusion()
    both_ways = job.row.task == "retrieval"
    outcome = _outcome(task, embedder, fusion, both_ways=both_ways)
    held_out = held_out_ids(split.dataset) & set(task.video_ids)
    parts = dict(_held_out(task, outcome, held_out, embedder, fusion))
    settings = {
        "fusion": asdict(fusion), "parts_share": PARTS_SHARE, "version": VERSION,
        "text_embedder": job.model_set.fingerprint("text_embedder"), "split": split.name,
        "source": texts.source, "num_candidates": len(task.videos),
    }  # fmt: skip
    _write_predictions(job, task, outcome, settings)
    result = _result(job, split, task, outcome)
    return replace(
        result,
        source=texts.source,
        groups={name: value for part in parts.values() for name, value in part["groups"].items()},
        details={
            "methods": _table(outcome.ranks),
            **{name: part["methods"] for name, part in parts.items()},
        },
        backends={"text_embedder": job.model_set.identity("text_embedder").label()},
        settings=settings,
        notes=tuple(_notes(split, task, outcome, held_out)),
    )


def _quick(task: Task, split: Split) -> Task:
    chosen = first_held_out(split.dataset, QUICK_VIDEOS) & set(task.video_ids)
    chosen = chosen or frozenset(task.video_ids[:QUICK_VIDEOS])
    return replace(task.only(chosen), num_official=task.num_official)


def _outcome(task: Task, embedder: TextEmbedder, fusion: Fusion, *, both_ways: bool) -> Outcome:
    contest = Contest(task.videos, [query.text for query in task.queries], embedder, fusion)
    return hold(contest, np.array(task.right, dtype=np.int64), both_ways=both_ways)


def _held_out(
    task: Task,
    outcome: Outcome,
    held_out: frozenset[str],
    embedder: TextEmbedder,
    fusion: Fusion,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what was measured on videos that no setting was chosen on."""
    if not held_out or len(held_out) == len(set(task.video_ids)):
        return
    within = np.array([query.video_id in held_out for query in task.queries])
    if not within.any():
        return
    yield "held_out_in_all", _group("held_out_in_all", _some(outcome.ranks, within), task, within)
    part = task.only(held_out)
    ranks = _outcome(part, embedder, fusion, both_ways=False).ranks
    everything = np.ones(len(part.queries), dtype=np.bool_)
    yield "held_out", _group("held_out", ranks, part, everything)


def _some(ranks: Mapping[str, Ranks], chosen: Any) -> dict[str, Ranks]:
    return {
        name: replace(one, places=one.places[chosen], ranks=one.ranks[chosen], num_tied=0)
        for name, one in ranks.items()
    }


def _group(name: str, ranks: Mapping[str, Ranks], task: Task, chosen: Any) -> dict[str, Any]:
    videos = [q.video_id for q, is_in in zip(task.queries, chosen, strict=True) if is_in]
    rival = strongest_plain(ranks)
    gain = interval_of_difference(ranks[OURS].hits(1), ranks[rival].hits(1), videos)
    value = interval_of_mean(ranks[OURS].hits(1), videos)
    table = _table(ranks)
    groups = {f"{name} {metric}": table[OURS][metric] for metric in table[OURS]}
    groups |= {
        f"{name} {FLOOR} R@1": table[FLOOR]["R@1"],
        f"{name} {STORY} R@1": table[STORY]["R@1"],
    }
    groups |= {f"num_{name}": len(videos), f"num_{name}_candidates": ranks[OURS].num_candidates}
    return {
        "groups": groups,
        "methods": {
            **table,
            "interval_R@1": value.bounds,
            "strongest_plain": rival,
            "gain_R@1": [gain.value, gain.bounds],
        },
    }


def _table(ranks: Mapping[str, Ranks]) -> dict[str, dict[str, float]]:
    return {name: retrieval_score(one).named() for name, one in ranks.items()}


def _result(job: Job, split: Split, task: Task, outcome: Outcome) -> EvalResult:
    videos = [query.video_id for query in task.queries]
    ours = interval_of_mean(outcome.ranks[OURS].hits(1), videos)
    plain = {name: ranks.hits(1).mean() for name, ranks in outcome.ranks.items()}
    metrics = retrieval_score(outcome.ranks[OURS]).named()
    if outcome.backwards is not None:
        backwards = retrieval_score(outcome.backwards).named()
        metrics |= {f"video to text {name}": value for name, value in backwards.items()}
        metrics["RSum"] = rsum(outcome.ranks[OURS], outcome.backwards)
    if task.num_unanswerable:
        share = len(task.queries) / (len(task.queries) + task.num_unanswerable)
        metrics["R@1, queries without words missed"] = ours.value * share
    return EvalResult(
        row=job.row.name,
        dataset=split.dataset,
        split=_name(split, task),
        is_partial=split.is_partial or not task.is_whole,
        metric=job.row.metric,
        score=ours.value,
        interval=ours.bounds,
        num_items=len(task.queries),
        num_videos=len(set(videos)),
        source="",
        floor=float(plain.pop(FLOOR)),
        other_video=float(plain.pop(OTHER_VIDEO)),
        controls={name: float(value) for name, value in plain.items() if name != OURS}
        | {"random": 1 / len(task.videos)},
        metrics=metrics,
        counts={
            "num_candidates": len(task.videos),
            "num_candidates_official": task.num_official,
            "num_queries_without_words": task.num_unanswerable,
            "num_tied": outcome.ranks[OURS].num_tied,
        },
    )


def _name(split: Split, task: Task) -> str:
    if task.is_whole:
        return split.name
    return f"{split.name}, {len(task.videos)} of {task.num_official} candidates"


def _notes(split: Split, task: Task, outcome: Outcome, held_out: frozenset[str]) -> Iterator[str]:
    videos = [query.video_id for query in task.queries]
    rival = strongest_plain(outcome.ranks)
    gain = interval_of_difference(outcome.ranks[OURS].hits(1), outcome.ranks[rival].hits(1), videos)
    words = f"R@1 is {100 * gain.value:+.1f} points against {rival}, the best simpler method"
    if gain.bounds is not None:
        words += f" (95 % interval {100 * gain.bounds[0]:.1f} to {100 * gain.bounds[1]:.1f})"
    yield words
    if task.num_unanswerable or not task.is_whole:
        yield (
            f"the gallery holds {len(task.videos)} of {task.num_official} candidates; "
            f"{task.num_unanswerable} queries are about others and are not asked"
        )
    if held_out and len(held_out) < len(set(task.video_ids)):
        yield (
            f"the weights were chosen on videos other than the {len(held_out)} reported as held_out"
        )


def _write_predictions(job: Job, task: Task, outcome: Outcome, settings: dict[str, Any]) -> None:
    """Write each query's rank and the ten candidates that come first: ids, no text."""
    path = job.out / PREDICTIONS
    ids = [video.video_id for video in task.videos]
    with open_records(path, settings=settings, on_change="start over") as predictions:
        for query, rank, places in zip(
            task.queries, outcome.ranks[OURS].ranks, outcome.best, strict=True
        ):
            if query.id not in predictions:
                best = [ids[place] for place in places]
                predictions.add({"id": query.id, "rank": int(rank), "best": best})

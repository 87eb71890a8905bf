"""The ablations of the paper (arXiv 2412.06182), one function a table, each returning rows.

Tables XVIII and XVII are measured on published captions, which stand for chapters; XII, XIX and XI
on made films, through the whole pipeline. Captions and films are others than the paper's, and so
are the models: the rows say what a choice changes here, not what the paper's numbers are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from caption_study import CaptionedVideo, evidence_of, redundancy_rows
from film_study import FilmStudy, mean_row

from fdvs.answers.choice.chooser import Chooser
from fdvs.answers.evidence import Evidence, Passage
from fdvs.answers.question import Question
from fdvs.config import Config, CutMethod, StoryConfig, TextualConfig
from fdvs.metrics.interval import interval_of_mean
from fdvs.protocols import TextEmbedder
from fdvs.redundancy.rules import Rule as AnyRule
from fdvs.redundancy.rules import keep_chapters
from fdvs.story.story import write_story
from fdvs.types import Chapter, Mask, Story
from fdvs.vectors import unit_rows

Rule = Literal["paper", "cover"]

MEMORIES = (1, 11, 21, 31, 35, 41)
NUM_EVIDENCE = (0, 1, 3, 5, 7)
NUM_FRAMES = (4, 8, 16, 32)
CUTTING: tuple[CutMethod, ...] = ("keyframes", "scenes", "fixed")
RULES: tuple[Rule, ...] = ("paper", "cover")
NUM_DRAWS = 3

Rows = list[dict[str, Any]]


def table_xii(
    study: FilmStudy, *, rules: Sequence[Rule] = RULES, num_draws: int = NUM_DRAWS
) -> Rows:
    """Redundancy reduction: none, textual, visual, both; each rule beside random drop.

    A random row is the mean over `num_draws` draws that drop as many of every clip's frames, and
    of every film's chapters, as the rule above it.
    """
    base = study.config()
    rows = [study.row("none", _reduced(base, visual=None, textual=None))]
    for rule in rules:
        for where, visual, textual in (
            ("visual", rule, None),
            ("textual", None, rule),
            ("both", rule, rule),
        ):
            rows.append(
                study.row(f"{where} {rule}", _reduced(base, visual=visual, textual=textual))
            )
            drawn = [
                study.row("draw", _random(base, visual=visual, textual=textual, seed=seed))
                for seed in range(num_draws)
            ]
            rows.append(mean_row(f"{where} random, as many as {rule}", drawn))
    return rows


def _reduced(base: Config, *, visual: Rule | None, textual: Rule | None) -> Config:
    return replace(
        base, visual=with_rule(base.visual, visual), textual=with_rule(base.textual, textual)
    )


def with_rule(config: AnyRule, rule: Rule | None) -> AnyRule:
    """Return the settings with another rule; None for no rule."""
    return replace(config, policy=rule or "none")


def _random(base: Config, *, visual: Rule | None, textual: Rule | None, seed: int) -> Config:
    return replace(
        base,
        visual=_like(base.visual, visual, seed),
        textual=_like(base.textual, textual, seed),
    )


def _like(config: AnyRule, rule: Rule | None, seed: int) -> AnyRule:
    followed = with_rule(config, rule)
    return followed if rule is None else replace(followed, policy="random", like=rule, seed=seed)


def table_xix(study: FilmStudy, *, numbers: Sequence[int] = NUM_FRAMES) -> Rows:
    """Frames sampled from each clip."""
    base = study.config()
    return [
        study.row(
            f"{number} frames",
            replace(base, sample=replace(base.sample, num_frames_per_clip=number)),
        )
        for number in numbers
    ]


def table_xi(study: FilmStudy, *, methods: Sequence[CutMethod] = CUTTING) -> Rows:
    """Where clips begin: key frames of the codec, scene changes, fixed lengths.

    Raises ModelUnavailable for `scenes` without PySceneDetect.
    """
    base = study.config()
    return [
        study.row(method, replace(base, cut=replace(base.cut, method=method))) for method in methods
    ]


def table_xviii(
    videos: Sequence[CaptionedVideo],
    chooser: Chooser | None,
    *,
    memories: Sequence[int] = MEMORIES,
    rules: Sequence[Rule] = RULES,
    num_draws: int = NUM_DRAWS,
) -> Rows:
    """Memory length of textual redundancy, for every rule, beside random drop of as many."""
    compared = {
        f"{rule}, memory {memory}": with_rule(TextualConfig(memory=memory), rule)
        for rule in rules
        for memory in memories
    }
    return redundancy_rows(videos, chooser, rules=compared, num_draws=num_draws)


def table_xvii(
    videos: Sequence[CaptionedVideo],
    chooser: Chooser,
    embedder: TextEmbedder,
    *,
    numbers: Sequence[int] = NUM_EVIDENCE,
    rule: TextualConfig | None = None,
) -> Rows:
    """Number of evidence chapters that an answer rests on, with and without the story.

    Evidence are the chapters nearest to the question, in order of time. The story is built from
    the chapters that `rule` keeps, without a language model. 0 chapters is the story alone; a
    last row reads all chapters.
    """
    rule = rule or TextualConfig()
    stories = [_story(video, keep_chapters(video.vectors, rule, salt=video.video_id))
               for video in videos]  # fmt: skip
    sentences = [_story_sentences(story, embedder) for story in stories]
    rows = []
    for number in numbers:
        for with_story in (True, False):
            if number or with_story:
                name = f"{number} chapters, {'with' if with_story else 'without'} story"
                material = [
                    _evidence(video, number, extra if with_story else None, embedder)
                    for video, extra in zip(videos, sentences, strict=True)
                ]
                rows.append(_answer_row(name, videos, material, chooser))
    everything = [[evidence_of(v, np.ones(len(v.captions), dtype=np.bool_))] * len(v.questions)
                  for v in videos]  # fmt: skip
    return [*rows, _answer_row("all chapters, without story", videos, everything, chooser)]


def _story(video: CaptionedVideo, kept: Mask) -> Story:
    chapters = [
        Chapter(
            video_id=video.video_id,
            index=place,
            start_s=caption.start_s,
            end_s=caption.end_s,
            text=caption.text,
        )
        for place, caption in enumerate(video.captions)
    ]
    return write_story(
        video_id=video.video_id,
        duration_s=video.captions[-1].end_s,
        chapters=chapters,
        kept=kept,
        vectors=video.vectors,
        config=StoryConfig(),
        writer=None,
        chapter_writer="published captions",
    )


def _story_sentences(story: Story, embedder: TextEmbedder) -> Evidence:
    """Return the story's sentences as passages with the times of the chapters they rest on."""
    times = {chapter.index: chapter for chapter in story.chapters}
    passages = tuple(
        Passage(
            video_id=story.video_id,
            name=story.video_id,
            chapter=sentence.clips[0],
            start_s=times[sentence.clips[0]].start_s,
            end_s=times[sentence.clips[-1]].end_s,
            text=sentence.text,
        )
        for sentence in story.sentences
    )
    rows = embedder.embed_texts([passage.text for passage in passages])
    return Evidence(passages=passages, vectors=rows, story=tuple(p.text for p in passages))


def _evidence(
    video: CaptionedVideo, number: int, story: Evidence | None, embedder: TextEmbedder
) -> list[Evidence]:
    """Return, per question, the nearest chapters in order of time, after the story if given."""
    questions = unit_rows(embedder.embed_texts([q.question for q in video.questions]))
    near = np.argsort(-(questions @ video.vectors.T), axis=1, kind="stable")[:, :number]
    found = []
    for places in near:
        mask = np.zeros(len(video.captions), dtype=np.bool_)
        mask[places] = True
        chapters = evidence_of(video, mask)
        found.append(chapters if story is None else _joined(story, chapters))
    return found


def _joined(story: Evidence, chapters: Evidence) -> Evidence:
    return Evidence(
        passages=(*story.passages, *chapters.passages),
        vectors=np.concatenate([story.vectors, chapters.vectors]),
        story=story.story,
    )


def _answer_row(
    name: str,
    videos: Sequence[CaptionedVideo],
    material: Sequence[Sequence[Evidence]],
    chooser: Chooser,
) -> dict[str, Any]:
    right = [
        float(chooser.choose(Question.of(q.question, q.options), known).chosen == q.answer)
        for video, of_video in zip(videos, material, strict=True)
        for q, known in zip(video.questions, of_video, strict=True)
    ]
    groups = [video.video_id for video in videos for _ in video.questions]
    passages = [len(known.passages) for of_video in material for known in of_video]
    found = interval_of_mean(right, groups)
    return {
        "name": name,
        "right": round(found.value, 4),
        "right_interval": None if found.bounds is None else [round(b, 4) for b in found.bounds],
        "num_passages": round(float(np.mean(passages)), 1),
        "num_questions": len(right),
        "num_videos": len(videos),
    }

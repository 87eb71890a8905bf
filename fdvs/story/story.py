"""Write the story of a video: chapters -> scenes -> story, each sentence linked to its clips."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from fdvs.config import StoryConfig
from fdvs.errors import ModelUnavailable
from fdvs.prompting.marks import legible, unmarked
from fdvs.protocols import LanguageModel
from fdvs.story.abstractive import summarise_scene, summarise_story
from fdvs.story.candidates import with_footers_once
from fdvs.story.extractive import (
    has_nothing_to_tell,
    materials_of,
    scene_sentences,
    story_sentences,
)
from fdvs.story.linking import link_sentences
from fdvs.story.scenes import joined, scene_ranges
from fdvs.story.sentence_vectors import Embed
from fdvs.story.titles import scene_titles
from fdvs.text.context import in_context
from fdvs.text.sentences import split_sentences
from fdvs.types import Chapter, Scene, Sentence, Story, Vectors

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outline:
    """A scene before it is written: its kept chapters and its interval."""

    chapters: tuple[Chapter, ...]
    start_s: float
    end_s: float


def write_story(
    *,
    video_id: str,
    duration_s: float,
    chapters: Sequence[Chapter],
    kept: NDArray[np.bool_],
    vectors: Vectors,
    config: StoryConfig,
    writer: LanguageModel | None,
    chapter_writer: str = "",
    embed: Embed | None = None,
) -> Story:
    """Return the story of a video.

    Args:
        video_id: of the video.
        duration_s: of the video.
        chapters: all chapters [N] in order of time.
        kept: the chapters [N] that textual redundancy kept; the story is about these.
        vectors: text embeddings of all chapters [N, D].
        config: extractive or abstractive, and the lengths of scenes and story.
        writer: the language model; needed if the story is abstractive.
        chapter_writer: what wrote the chapters, for `Story.writers`.
        embed: returns vectors of sentences, by which an extractive story compares them; without
            it they are compared by their words alone.

    Raises:
        ModelUnavailable: abstractive without a writer.
        BadModelOutput: the writer's reply cannot be used.
        ValueError: no chapter is kept, or the lengths differ.
    """
    _check(chapters, kept, vectors)
    if config.writer == "abstractive" and writer is None:
        raise ModelUnavailable(
            "story.writer is 'abstractive', but no language model is loaded; set models.llm, "
            "or story.writer to 'extractive'"
        )
    outlines = _outlines(chapters, kept, vectors, config=config)
    if config.writer == "abstractive" and writer is not None:
        scenes, sentences = _abstractive(outlines, duration_s, config, writer)
        by = f"abstractive: {writer.identity.label()}"
    else:
        scenes, sentences = _extractive(outlines, chapters, config, embed)
        by = "extractive: sentences of the chapters, no language model"
    logger.info(
        "story: %d chapters, %d scenes, %d sentences", kept.sum(), len(scenes), len(sentences)
    )
    writers = {"chapter": chapter_writer} if chapter_writer else {}
    told = with_footers_once([chapter for o in outlines for chapter in o.chapters])
    return Story(
        video_id=video_id,
        duration_s=duration_s,
        sentences=sentences,
        scenes=scenes,
        chapters=tuple(replace(c, said=()) for c in told),
        num_clips=len(chapters),
        writers={**writers, "scene": by, "story": by},
    )


def _check(chapters: Sequence[Chapter], kept: NDArray[np.bool_], vectors: Vectors) -> None:
    if not len(chapters) == len(kept) == len(vectors):
        raise ValueError(
            f"{len(chapters)} chapters, {len(kept)} marks and {len(vectors)} vectors; need as many"
        )
    if not kept.any():
        raise ValueError("no chapter is kept; a story needs at least one")


def _outlines(
    chapters: Sequence[Chapter],
    kept: NDArray[np.bool_],
    vectors: Vectors,
    *,
    config: StoryConfig,
) -> list[_Outline]:
    """Return the scenes as runs of kept chapters.

    A scene lasts until the next one begins, the last until the last chapter ends: it includes the
    redundant chapters after its kept ones, which resemble them.
    """
    rows = np.flatnonzero(kept)
    titles = [chapter.title for chapter, is_kept in zip(chapters, kept, strict=True) if is_kept]
    ranges = scene_ranges(vectors[rows], max_chapters=config.max_scene_chapters, titles=titles)
    empty = [has_nothing_to_tell(chapters[row]) for row in rows.tolist()]
    ranges = joined(ranges, empty, max_chapters=config.max_scene_chapters)
    starts = [chapters[rows[r.start]].start_s for r in ranges]
    ends = [*starts[1:], chapters[-1].end_s]
    return [
        _Outline(
            chapters=tuple(chapters[rows[i]] for i in r),
            start_s=start_s,
            end_s=end_s,
        )
        for r, start_s, end_s in zip(ranges, starts, ends, strict=True)
    ]


def _scene(index: int, outline: _Outline, title: str, sentences: tuple[Sentence, ...]) -> Scene:
    return Scene(
        index=index,
        start_s=outline.start_s,
        end_s=outline.end_s,
        chapters=tuple(c.index for c in outline.chapters),
        sentences=sentences,
        title=title,
    )


def _extractive(
    outlines: Sequence[_Outline],
    chapters: Sequence[Chapter],
    config: StoryConfig,
    embed: Embed | None,
) -> tuple[tuple[Scene, ...], tuple[Sentence, ...]]:
    num_per_scene = config.sentences_per_scene
    titles = scene_titles([o.chapters for o in outlines])
    materials = materials_of([o.chapters for o in outlines], embed)
    scenes = tuple(
        _scene(i, o, titles[i], scene_sentences(material, num_sentences=num_per_scene))
        for i, (o, material) in enumerate(zip(outlines, materials, strict=True))
    )
    sentences = story_sentences(
        materials,
        max_sentences=config.max_story_sentences,
        everything=chapters,
    )
    return scenes, sentences


def _abstractive(
    outlines: Sequence[_Outline], duration_s: float, config: StoryConfig, writer: LanguageModel
) -> tuple[tuple[Scene, ...], tuple[Sentence, ...]]:
    """One call per scene of more than one chapter, then one or more for the story."""
    texts = [_scene_text(o, config, writer) for o in outlines]
    titles = scene_titles([o.chapters for o in outlines])
    scenes = tuple(
        _scene(i, o, titles[i], link_sentences(split_sentences(text), o.chapters))
        for i, (o, text) in enumerate(zip(outlines, texts, strict=True))
    )
    parts = [(o.start_s, legible(text)) for o, text in zip(outlines, texts, strict=True)]
    story = summarise_story(
        parts, duration_s=duration_s, writer=writer, max_tokens=config.max_tokens
    )
    story = in_context(story, [text for _, text in parts])
    everything = [chapter for o in outlines for chapter in o.chapters]
    return scenes, link_sentences(split_sentences(story), everything)


def _scene_text(outline: _Outline, config: StoryConfig, writer: LanguageModel) -> str:
    """Return the summary of a scene; a scene of one chapter is that chapter."""
    if len(outline.chapters) == 1:
        return unmarked(outline.chapters[0].text)
    parts = [(c.start_s, legible(c.text)) for c in outline.chapters]
    told = summarise_scene(parts, writer=writer, max_tokens=config.max_tokens)
    return in_context(told, [text for _, text in parts])

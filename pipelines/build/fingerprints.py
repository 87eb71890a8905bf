"""Fingerprints of every stored result, in one place: what each one depends on.

Models count by `ModelSet.fingerprint`: weights, revision, options, number type.
Raise a stage's number when its code changes what it stores; everything behind it follows.
"""

from __future__ import annotations

from collections.abc import Sequence

from fdvs.config import (
    ChapterConfig,
    Config,
    RedundancyConfig,
    StoryConfig,
    TextualConfig,
    with_retired,
)
from fdvs.fingerprint import digest, fingerprint
from fdvs.types import Clip

VERSIONS = {
    "probe": 1,
    "clips": 1,
    "frames": 1,
    "kept_frames": 1,
    "look": 1,
    "see": 1,
    "chapter": 1,
    "chapter_vector": 1,
    "kept_chapters": 1,
    "story": 1,
    "story_vector": 1,
    "done": 1,
}
PER_CLIP = ("frames", "kept_frames", "look", "chapter", "chapter_vector", "cost")


def probe_key(sha256: str, config: Config) -> str:
    return fingerprint("probe", VERSIONS["probe"], content=sha256, reader=config.read.reader)


def clips_key(probe_digest: str, config: Config) -> str:
    return fingerprint("clips", VERSIONS["clips"], probe=probe_digest, cut=config.cut)


def frames_key(sha256: str, clip: Clip, config: Config, embedder: str) -> str:
    return fingerprint(
        "frames",
        VERSIONS["frames"],
        content=sha256,
        clip=[clip.start_s, clip.end_s],
        sample=config.sample,
        reader=config.read.reader,
        embedder=embedder,
    )


def kept_frames_key(frames_key: str, rule: RedundancyConfig) -> str:
    """By the frames' key, not their vectors: float noise of a batch must not look like a change."""
    return fingerprint(
        "kept_frames",
        VERSIONS["kept_frames"],
        frames=frames_key,
        rule=with_retired("visual", rule),
    )


def look_key(frames_key: str, kept: Sequence[bool], text_key: str) -> str:
    """The text embedder counts, since a stand-in places pictures in its space."""
    return fingerprint(
        "look", VERSIONS["look"], frames=frames_key, kept=list(map(bool, kept)), texts=text_key
    )


def see_key(
    sha256: str,
    clip: Clip,
    config: Config,
    describer: str,
    times_s: Sequence[float],
    motion: float,
    extra: str,
) -> str:
    """What a describer saw depends on the kept pictures; `extra` is content beside the video."""
    return fingerprint(
        "see",
        VERSIONS["see"],
        content=sha256,
        clip=[clip.start_s, clip.end_s],
        short_side_px=config.sample.short_side_px,
        reader=config.read.reader,
        max_chars=config.perceive.max_observation_chars,
        describer=describer,
        times_s=list(times_s),
        motion=motion,
        extra=extra,
    )


def chapter_key(clip: Clip, seen: Sequence[str], rule: ChapterConfig, writer: str) -> str:
    return fingerprint(
        "chapter",
        VERSIONS["chapter"],
        clip=[clip.start_s, clip.end_s],
        seen=list(seen),
        rule=rule,
        writer=writer,
    )


def chapter_vector_key(chapter_digest: str, embedder: str) -> str:
    return fingerprint(
        "chapter_vector", VERSIONS["chapter_vector"], chapter=chapter_digest, embedder=embedder
    )


def kept_chapters_key(vector_keys: Sequence[str], rule: TextualConfig) -> str:
    return fingerprint(
        "kept_chapters",
        VERSIONS["kept_chapters"],
        vectors=digest(list(vector_keys)),
        rule=with_retired("textual", rule),
    )


def story_key(chapters: Sequence[str], kept: str, rule: StoryConfig, writer: str) -> str:
    return fingerprint(
        "story",
        VERSIONS["story"],
        chapters=digest(list(chapters)),
        kept=kept,
        rule=with_retired("story", rule),
        writer=writer,
    )


def story_vector_key(story_digest: str, embedder: str) -> str:
    return fingerprint(
        "story_vector", VERSIONS["story_vector"], story=story_digest, embedder=embedder
    )


def done_key(sha256: str, config: Config, models: Sequence[str], extra: str) -> str:
    """Covers a whole video: while it holds, the file is not even opened."""
    parts = {
        name: with_retired(name, getattr(config, name))
        for name in ("read", "cut", "sample", "visual", "perceive", "chapter", "textual", "story")
    }
    return fingerprint(
        "done",
        VERSIONS["done"],
        content=sha256,
        settings=parts,
        versions=VERSIONS,
        models=list(models),
        extra=extra,
    )

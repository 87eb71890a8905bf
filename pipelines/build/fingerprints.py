"""Fingerprints of every stored result, in one place: what each one depends on.

A model counts by `ModelSet.fingerprint`: weights, revision, options, number type. Raise a stage's
number in `VERSIONS` when its code changes what it stores; everything that depends on it follows.
The stage names are stored in libraries: never rename one. Retired settings still count, with the
value that all later code behaves as (`fdvs.config.RETIRED`).
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
from fdvs.types import Clip, Timeline

VERSIONS = {
    "probe": 1,
    "clips": 1,
    "frames": 1,
    "kept_frames": 1,
    "look": 1,
    "see": 1,
    "chapter": 5,
    "chapter_vector": 1,
    "kept_chapters": 1,
    "story": 5,
    "story_vector": 1,
    "done": 1,
}
# Not in VERSIONS, which is part of every `done`: a library without tracks must stay unchanged.
TRACK_VERSION = 1
OF_PICTURES = ("frames", "kept_frames", "look", "cost")
PER_CLIP = (*OF_PICTURES, "chapter", "chapter_vector", "sentence_vector")


def observation_stage(describer: str) -> str:
    """Return the stage under which a describer's observations are stored."""
    return f"see:{describer}"


def track_stage(source: str) -> str:
    """Return the stage under which the stretches of a source's track are stored."""
    return f"track:{source.removeprefix('source:')}"


def track_end_stage(source: str) -> str:
    """Return the stage that is stored once a source's track is complete."""
    return f"track_end:{source.removeprefix('source:')}"


def _fingerprint(stage: str, **parts: object) -> str:
    return fingerprint(stage, VERSIONS[stage], **parts)


def probe_fingerprint(sha256: str, config: Config) -> str:
    """Facts about a file depend on its content and on the reader."""
    return _fingerprint("probe", content=sha256, reader=config.read.reader)


def clips_fingerprint(probe_digest: str, config: Config) -> str:
    """Where a video is cut depends on its facts and on the rule."""
    return _fingerprint("clips", probe=probe_digest, cut=config.cut)


def frames_fingerprint(sha256: str, clip: Clip, config: Config, embedder: str) -> str:
    """A clip's frame times and vectors: content, interval, sampling, reader, image embedder."""
    return _fingerprint(
        "frames",
        content=sha256,
        clip=[clip.start_s, clip.end_s],
        sample=config.sample,
        reader=config.read.reader,
        embedder=embedder,
    )


def kept_frames_fingerprint(frames: str, rule: RedundancyConfig) -> str:
    """By the fingerprint of the frames, not by their vectors: the float noise of another batch
    must not look like a change."""
    return _fingerprint("kept_frames", frames=frames, rule=with_retired("visual", rule))


def picture_fingerprint(frames: str, kept: Sequence[bool], text_embedder: str) -> str:
    """The clip's vector for visual search. The text embedder counts, since a stand-in places
    pictures in its space."""
    return _fingerprint("look", frames=frames, kept=list(map(bool, kept)), texts=text_embedder)


def observation_fingerprint(
    sha256: str,
    clip: Clip,
    config: Config,
    *,
    describer: str,
    times_s: Sequence[float],
    motion: float,
    sidecar: str,
) -> str:
    """What a describer says depends on the kept frames and, where it reads one, on a sidecar file
    (`sidecar` is its digest)."""
    return _fingerprint(
        "see",
        content=sha256,
        clip=[clip.start_s, clip.end_s],
        short_side_px=config.sample.short_side_px,
        reader=config.read.reader,
        max_chars=config.perceive.max_observation_chars,
        describer=describer,
        times_s=list(times_s),
        motion=motion,
        extra=sidecar,
    )


def track_fingerprint(
    sha256: str, timeline: Timeline, config: Config, *, source: str, beside: str
) -> str:
    """What a source reads of a whole file: content, the file's clock, the source, and what it
    reads `beside` the file (a digest)."""
    return fingerprint(
        "track",
        TRACK_VERSION,
        content=sha256,
        timeline=timeline,
        max_chars=config.perceive.max_observation_chars,
        source=source,
        beside=beside,
    )


def chapter_fingerprint(
    clip: Clip, observations: Sequence[str], rule: ChapterConfig, writer: str, text_embedder: str
) -> str:
    """A chapter depends on the digests of its clip's observations, on its writer, and on the text
    embedder, which tests by meaning whether an observation reads like an order."""
    return _fingerprint(
        "chapter",
        clip=[clip.start_s, clip.end_s],
        seen=list(observations),
        rule=rule,
        writer=writer,
        orders=text_embedder,
    )


def chapter_vector_fingerprint(chapter_digest: str, embedder: str) -> str:
    """A chapter's vector depends on its text and on the text embedder."""
    return _fingerprint("chapter_vector", chapter=chapter_digest, embedder=embedder)


def kept_chapters_fingerprint(vectors: Sequence[str], rule: TextualConfig) -> str:
    """Which chapters stay depends on the fingerprints of all chapter vectors, and on the rule."""
    return _fingerprint(
        "kept_chapters", vectors=digest(list(vectors)), rule=with_retired("textual", rule)
    )


def story_fingerprint(chapters: Sequence[str], kept: str, rule: StoryConfig, writer: str) -> str:
    """A story depends on the chapters' digests, on which of them are kept, and on its writer."""
    return _fingerprint(
        "story",
        chapters=digest(list(chapters)),
        kept=kept,
        rule=with_retired("story", rule),
        writer=writer,
    )


def sentence_vector_fingerprint(chapter_digest: str, embedder: str) -> str:
    """Return the fingerprint of the vectors of a chapter's sentences; they only save time."""
    return fingerprint("sentence_vector", 1, chapter=chapter_digest, embedder=embedder)


def story_vector_fingerprint(story_digest: str, embedder: str) -> str:
    """The vectors of story and scenes depend on their texts and on the text embedder."""
    return _fingerprint("story_vector", story=story_digest, embedder=embedder)


def done_fingerprint(sha256: str, config: Config, models: Sequence[str], sidecars: str) -> str:
    """Cover a whole video: while it holds, the file is not even opened."""
    sections = ("read", "cut", "sample", "visual", "perceive", "chapter", "textual", "story")
    return _fingerprint(
        "done",
        content=sha256,
        settings={name: with_retired(name, getattr(config, name)) for name in sections},
        versions=VERSIONS,
        models=list(models),
        extra=sidecars,
    )

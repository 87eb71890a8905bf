"""Last stage, in the main thread: a video whose clips are all in becomes kept chapters and a story.

Each result is committed by itself and skipped where its fingerprint still holds.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from fdvs.pipelines.build import fingerprints as keys
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import VideoJob
from fdvs.store.store import Artifact, NewArtifact, Store
from fdvs.story.tell import tell
from fdvs.story.as_json import story_from_json, story_to_json
from fdvs.redundancy.chapters import keep_chapters, similarity_to_memory
from fdvs.types import Chapter, Saved, Story, Vectors

EMBED_CHUNK = 64


def finish_video(job: VideoJob, store: Store, context: BuildContext) -> Saved:
    """Embed chapters, drop repeats, tell the story, count what was saved; return the counts."""
    chapters = _chapters(job, store)
    vectors, vector_keys = _chapter_vectors(job, store, context)
    kept, kept_key = _kept_chapters(job, store, context, vectors, vector_keys)
    _story(job, store, context, chapters, kept, kept_key, vectors)
    saved = count_saved(job, store, kept)
    store.put(job.video_id, "saved", fingerprint="", payload=dataclasses.asdict(saved))
    for stage in (*keys.PER_CLIP, *(f"see:{key}" for key in context.describer_keys)):
        store.trim(job.video_id, stage, keep_items=len(job.clips))
    store.trim_thumbnails(job.video_id, keep_items=len(job.clips))
    store.put(job.video_id, "done", fingerprint=job.done_key, payload={"gop": job.gop})
    return saved


def _chapter_artifacts(job: VideoJob, store: Store) -> list[Artifact]:
    found = store.get_all(job.video_id, "chapter")
    return [found[clip.index] for clip in job.clips]


def _chapters(job: VideoJob, store: Store) -> list[Chapter]:
    return [
        Chapter(video_id=job.video_id, index=clip.index, **artifact.payload)
        for clip, artifact in zip(job.clips, _chapter_artifacts(job, store), strict=True)
    ]


def _chapter_vectors(
    job: VideoJob, store: Store, context: BuildContext
) -> tuple[Vectors, list[str]]:
    """Return [num_clips, D] and the key of each row, embedding only what is stale."""
    texts = _chapter_artifacts(job, store)
    wanted = [keys.chapter_vector_key(a.digest, context.text_key) for a in texts]
    stored = store.get_all(job.video_id, "chapter_vector")
    stale = [i for i, k in enumerate(wanted) if i not in stored or stored[i].fingerprint != k]
    for start in range(0, len(stale), EMBED_CHUNK):
        chunk = stale[start : start + EMBED_CHUNK]
        rows = context.models.text_embedder.embed_texts([texts[i].payload["text"] for i in chunk])
        store.put_many(
            NewArtifact(
                video_id=job.video_id,
                stage="chapter_vector",
                item=i,
                fingerprint=wanted[i],
                payload={},
                vectors=rows[n : n + 1],
            )
            for n, i in enumerate(chunk)
        )
    stored = store.get_all(job.video_id, "chapter_vector")
    rows_ND = [stored[i].vectors for i in range(len(wanted))]
    return np.concatenate([row for row in rows_ND if row is not None]), wanted


def _kept_chapters(
    job: VideoJob,
    store: Store,
    context: BuildContext,
    vectors: Vectors,
    vector_keys: list[str],
) -> tuple[NDArray[np.bool_], str]:
    rule = context.config.textual
    key = keys.kept_chapters_key(vector_keys, rule)
    kept = keep_chapters(vectors, rule, salt=job.video_id)
    similarity = similarity_to_memory(
        vectors, memory=rule.memory, include_self=rule.policy == "paper"
    )
    payload = {
        "kept": [bool(k) for k in kept],
        "similarity": [round(float(s), 4) if np.isfinite(s) else None for s in similarity],
    }
    store.put(job.video_id, "kept_chapters", fingerprint=key, payload=payload)
    return kept, key


def _story(
    job: VideoJob,
    store: Store,
    context: BuildContext,
    chapters: list[Chapter],
    kept: NDArray[np.bool_],
    kept_key: str,
    vectors: Vectors,
) -> None:
    config = context.config.story
    digests = [a.digest for a in _chapter_artifacts(job, store)]
    key = keys.story_key(digests, kept_key, config, context.story_writer)
    old = store.get(job.video_id, "story")
    if old is None or old.fingerprint != key:
        assert job.info is not None
        story = tell(
            video_id=job.video_id,
            duration_s=job.info.duration_s,
            chapters=chapters,
            kept=kept,
            vectors=vectors,
            config=config,
            writer=context.models.llm if config.writer == "abstractive" else None,
            chapter_writer=_chapter_writer(context),
        )
        old = store.put(job.video_id, "story", fingerprint=key, payload=story_to_json(story))
    _story_vector(job, store, context, story_from_json(old.payload), old.digest)


def _chapter_writer(context: BuildContext) -> str:
    if context.config.chapter.writer == "template":
        return "template over what the captioner and the sources said"
    return context.models.identity("llm").label()


def _story_vector(
    job: VideoJob, store: Store, context: BuildContext, story: Story, story_digest: str
) -> None:
    """Row 0 is the whole story, then one row per scene."""
    key = keys.story_vector_key(story_digest, context.text_key)
    old = store.get(job.video_id, "story_vector")
    if old is None or old.fingerprint != key:
        texts = [story.text, *(scene.text for scene in story.scenes)]
        rows = context.models.text_embedder.embed_texts(texts)
        store.put(job.video_id, "story_vector", fingerprint=key, payload={}, vectors=rows)


def count_saved(job: VideoJob, store: Store, kept_chapters: NDArray[np.bool_]) -> Saved:
    """Count frames, chapters and captioner work of one video from what the store holds.

    Seconds saved are an estimate: the captioner's mean time per picture sent, times the pictures
    that were not sent.
    """
    masks = [a.payload["kept"] for a in store.get_all(job.video_id, "kept_frames").values()]
    num_sampled, num_kept = sum(map(len, masks)), sum(map(sum, masks))
    costs = store.get_all(job.video_id, "cost").values()
    captioner_s = sum(float(a.payload["captioner_s"]) for a in costs)
    per_picture_s = captioner_s / num_kept if num_kept else 0.0
    return Saved(
        num_clips=len(job.clips),
        num_frames_sampled=num_sampled,
        num_frames_kept=num_kept,
        num_chapters=len(kept_chapters),
        num_chapters_kept=int(kept_chapters.sum()),
        num_captioner_calls=num_kept,
        num_captioner_calls_saved=num_sampled - num_kept,
        captioner_s=round(captioner_s, 3),
        seconds_saved=round(per_picture_s * (num_sampled - num_kept), 3),
    )

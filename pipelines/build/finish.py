"""Last stage of a build, in the main thread: a video's chapters become kept chapters and a story.

Each result is committed by itself, and skipped where its fingerprint still holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from fdvs.answers.evidence import OnceEmbedder
from fdvs.fingerprint import digest
from fdvs.pipelines.build import fingerprints
from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.build.items import VideoJob
from fdvs.prompting.marks import unmarked
from fdvs.redundancy.rules import keep_chapters, similarity_to_memory
from fdvs.search.index import SENTENCES
from fdvs.store.coding import Coding
from fdvs.store.store import Artifact, NewArtifact, Store
from fdvs.story.as_json import story_from_json, story_to_json
from fdvs.story.story import write_story
from fdvs.text.counts import counted_of
from fdvs.text.sentences import sentences_of
from fdvs.types import Chapter, JsonDict, Saved, Story, Vectors

EMBED_CHUNK = 64
OF_TEXTS: Coding = "half"  # how the vectors of texts are stored
SUSPECT_NOTE = (
    "{num} words that read like an instruction to a language model: "
    "quoted and marked there, and no answer rests on them"
)


class Finisher:
    """Finishes one video, all of whose clips are committed."""

    def __init__(self, job: VideoJob, store: Store, context: BuildContext) -> None:
        self._job = job
        self._store = store
        self._context = context
        self._once = OnceEmbedder(context.models.text_embedder)
        stored = store.get_all(job.video_id, "chapter")
        self._chapters = [stored[clip.index] for clip in job.clips]

    def run(self) -> Saved:
        """Embed chapters, drop repetitive ones, write the story; return what was saved."""
        vectors, vector_fingerprints = self._chapter_vectors()
        self._embed_sentences()
        kept, kept_fingerprint = self._kept_chapters(vectors, vector_fingerprints)
        story, digest = self._story(kept, kept_fingerprint, vectors)
        self._embed_story(story, digest)
        self._trim()
        saved = count_saved(self._job, self._store, kept)
        self._put("saved", "", asdict(saved))
        num_suspect = sum(bool(c.payload.get("injections")) for c in self._chapters)
        if num_suspect:
            num = counted_of(num_suspect, len(self._chapters), "chapter", "holds", "hold")
            self._job.note(SUSPECT_NOTE.format(num=num))
        self._put("notes", "", {"notes": list(self._job.warnings)})
        self._mark_done()
        return saved

    def _mark_done(self) -> None:
        """Mark the video as done, unless a model failed: the next build then asks it again."""
        video_id = self._job.video_id
        if self._job.failures:
            self._store.trim(video_id, "done", keep_items=0)
        else:
            done: JsonDict = {"gop": self._job.gop, "seal": self._store.seal(video_id)}
            self._put("done", self._job.done_fingerprint, done)

    def _put(
        self,
        stage: str,
        fingerprint: str,
        payload: dict[str, object],
        vectors: Vectors | None = None,
    ) -> Artifact:
        return self._store.put(
            self._job.video_id, stage, fingerprint=fingerprint, payload=payload, vectors=vectors,
            coding=OF_TEXTS,
        )  # fmt: skip

    def _chapter_vectors(self) -> tuple[Vectors, list[str]]:
        """Return vectors [num_clips, D] and each row's fingerprint, embedding only stale rows."""
        job, store = self._job, self._store
        wanted = [
            fingerprints.chapter_vector_fingerprint(c.digest, self._context.text_fingerprint)
            for c in self._chapters
        ]
        stored = store.get_all(job.video_id, "chapter_vector")
        stale = [i for i, f in enumerate(wanted) if i not in stored or stored[i].fingerprint != f]
        for start in range(0, len(stale), EMBED_CHUNK):
            self._embed_chapters(stale[start : start + EMBED_CHUNK], wanted)
        stored = store.get_all(job.video_id, "chapter_vector")
        rows = [stored[i].vectors for i in range(len(wanted))]
        return np.concatenate([row for row in rows if row is not None]), wanted

    def _embed_chapters(self, indices: Sequence[int], wanted: Sequence[str]) -> None:
        texts = [self._chapters[i].payload["text"] for i in indices]
        rows = self._context.models.text_embedder.embed_texts(texts)
        self._store.put_many(
            NewArtifact(
                video_id=self._job.video_id,
                stage="chapter_vector",
                item=i,
                fingerprint=wanted[i],
                payload={},
                vectors=rows[n : n + 1],
                coding=OF_TEXTS,
            )
            for n, i in enumerate(indices)
        )

    def _embed_sentences(self) -> None:
        """Store the vectors of every chapter's sentences, for quotes and for the story."""
        stored = self._store.get_all(self._job.video_id, SENTENCES)
        every = range(len(self._chapters))
        for start in every[::EMBED_CHUNK]:
            chunk = every[start : start + EMBED_CHUNK]
            texts = {i: sentences_of(unmarked(self._chapters[i].payload["text"])) for i in chunk}
            new = [one for i in chunk if (one := self._sentences(i, texts[i], stored)) is not None]
            made = self._store.put_many(new)  # one transaction for all of them
            for one, artifact in zip(new, made, strict=True):
                assert artifact.vectors is not None
                # as a later build will read them
                self._once.remember(texts[one.item], artifact.vectors)

    def _sentences(
        self, index: int, texts: Sequence[str], stored: Mapping[int, Artifact]
    ) -> NewArtifact | None:
        """Return the vectors of one chapter's sentences to store, None where they are stored."""
        wanted = fingerprints.sentence_vector_fingerprint(
            self._chapters[index].digest, self._context.text_fingerprint
        )
        known = stored.get(index)
        if known is not None and known.fingerprint == wanted and known.vectors is not None:
            self._once.remember(texts, known.vectors)
            return None
        if not texts:
            return None
        return NewArtifact(
            video_id=self._job.video_id, stage=SENTENCES, item=index, fingerprint=wanted,
            payload={"of": digest(texts)}, vectors=self._once.embed_texts(texts), coding=OF_TEXTS,
        )  # fmt: skip

    def _kept_chapters(
        self, vectors: Vectors, vector_fingerprints: list[str]
    ) -> tuple[NDArray[np.bool_], str]:
        """Return a mask over the chapters and its fingerprint."""
        rule = self._context.config.textual
        fingerprint = fingerprints.kept_chapters_fingerprint(vector_fingerprints, rule)
        said = [stored.payload.get("said", ()) for stored in self._chapters]
        kept = keep_chapters(vectors, rule, salt=self._job.video_id, said=said)
        similarity = similarity_to_memory(
            vectors, memory=rule.memory, include_self=rule.policy == "paper"
        )
        payload = {
            "kept": [bool(k) for k in kept],
            "similarity": [round(float(s), 4) if np.isfinite(s) else None for s in similarity],
        }
        self._put("kept_chapters", fingerprint, payload)
        return kept, fingerprint

    def _story(
        self, kept: NDArray[np.bool_], kept_fingerprint: str, vectors: Vectors
    ) -> tuple[Story, str]:
        """Return the story and the digest of its stored form; write it where it is stale."""
        context, video_id = self._context, self._job.video_id
        fingerprint = fingerprints.story_fingerprint(
            [c.digest for c in self._chapters],
            kept_fingerprint,
            context.config.story,
            context.story_writer_fingerprint,
        )
        stored = self._store.get(video_id, "story")
        if stored is not None and stored.fingerprint == fingerprint:
            return story_from_json(stored.payload), stored.digest
        story = self._tell(kept, vectors)
        return story, self._put("story", fingerprint, story_to_json(story)).digest

    def _tell(self, kept: NDArray[np.bool_], vectors: Vectors) -> Story:
        job, context = self._job, self._context
        assert job.info is not None
        chapters = [
            chapter_from_payload(job.video_id, clip.index, stored.payload)
            for clip, stored in zip(job.clips, self._chapters, strict=True)
        ]
        writes = context.config.story.writer == "abstractive"
        return write_story(
            video_id=job.video_id,
            duration_s=job.info.duration_s,
            chapters=chapters,
            kept=kept,
            vectors=vectors,
            config=context.config.story,
            writer=context.models.llm if writes else None,
            chapter_writer=self._chapter_writer(),
            embed=self._once.embed_texts,
        )

    def _chapter_writer(self) -> str:
        if self._context.config.chapter.writer == "template":
            return "template over what the captioner and the sources said"
        return self._context.models.identity("llm").label()

    def _embed_story(self, story: Story, digest: str) -> None:
        """Store the vectors [1 + num_scenes, D] of the whole story and of each scene."""
        fingerprint = fingerprints.story_vector_fingerprint(digest, self._context.text_fingerprint)
        stored = self._store.get(self._job.video_id, "story_vector")
        if stored is None or stored.fingerprint != fingerprint:
            texts = [story.text, *(scene.text for scene in story.scenes)]
            rows = self._context.models.text_embedder.embed_texts(texts)
            self._put("story_vector", fingerprint, {}, rows)

    def _trim(self) -> None:
        """Forget results of clips that an earlier cut had and this one has not."""
        video_id, num_clips = self._job.video_id, len(self._job.clips)
        needing = [n for n in self._context.describer_names if self._context.models.needs_frames(n)]
        observed = map(fingerprints.observation_stage, self._context.describer_names)
        of_pictures = [*fingerprints.OF_PICTURES, *map(fingerprints.observation_stage, needing)]
        with self._store.writing():
            for stage in (*fingerprints.PER_CLIP, *observed):
                self._store.trim(video_id, stage, keep_items=num_clips)
            for name, track in self._job.tracks.items():
                stage, num = fingerprints.track_stage(name), len(track.stretches)
                self._store.trim(video_id, stage, keep_items=num)
            for index in self._job.without_pictures:
                self._store.delete(video_id, of_pictures, item=index)
        self._store.trim_thumbnails(
            video_id, keep_items=num_clips, without=self._job.without_pictures
        )


def chapter_from_payload(video_id: str, index: int, payload: JsonDict) -> Chapter:
    """Return a stored chapter; those of older versions lack some fields."""
    lists = {name: tuple(payload.get(name, ())) for name in ("said", "injections")}
    said_s = tuple((start_s, end_s) for start_s, end_s in payload.get("said_s", ()))
    return Chapter(video_id=video_id, index=index, **{**payload, **lists, "said_s": said_s})


def count_saved(job: VideoJob, store: Store, kept_chapters: NDArray[np.bool_]) -> Saved:
    """Count frames, chapters and captioner work of one video from what the store holds.

    Seconds saved are an estimate: the captioner's mean time per frame that it was given, times
    the number of frames that it was not given.
    """
    masks = [a.payload["kept"] for a in store.get_all(job.video_id, "kept_frames").values()]
    num_sampled, num_kept = sum(map(len, masks)), sum(map(sum, masks))
    costs = store.get_all(job.video_id, "cost").values()
    captioner_s = sum(float(a.payload["captioner_s"]) for a in costs)
    per_frame_s = captioner_s / num_kept if num_kept else 0.0
    return Saved(
        num_clips=len(job.clips),
        num_frames_sampled=num_sampled,
        num_frames_kept=num_kept,
        num_chapters=len(kept_chapters),
        num_chapters_kept=int(kept_chapters.sum()),
        num_captioner_calls=num_kept,
        num_captioner_calls_saved=num_sampled - num_kept,
        captioner_s=round(captioner_s, 3),
        seconds_saved=round(per_frame_s * (num_sampled - num_kept), 3),
    )

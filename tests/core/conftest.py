"""Libraries made of plain texts: one chapter of ten seconds per text, two chapters a scene."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from fdvs.models.scripted import HashTextEmbedder
from fdvs.store.store import Store, video_id_from
from fdvs.story.as_json import story_to_json
from fdvs.types import Chapter, Scene, Sentence, Story

CLIP_S = 10.0
MakeLibrary = Callable[..., Store]


@pytest.fixture
def embedder() -> HashTextEmbedder:
    return HashTextEmbedder(2048)


@pytest.fixture
def make_library(tmp_path: Path, embedder: HashTextEmbedder) -> Iterator[MakeLibrary]:
    """Return a function that fills a library from name -> texts and returns its open store."""
    stores: list[Store] = []

    def make(
        videos: Mapping[str, Sequence[str]],
        *,
        folder: str = "library",
        dropped: Mapping[str, Sequence[int]] | None = None,
        with_stories: bool = True,
    ) -> Store:
        store = Store.open(tmp_path / folder, create=True)
        stores.append(store)
        with store.writing():  # one transaction: many small ones would only take time
            for name, texts in videos.items():
                sha256 = hashlib.sha256(name.encode()).hexdigest()
                video_id = video_id_from(sha256)
                store.add_video(video_id=video_id, sha256=sha256, path=tmp_path / name)
                _put_chapters(store, video_id, texts, embedder)
                if with_stories:
                    gone = set((dropped or {}).get(name, ()))
                    kept = [i for i in range(len(texts)) if i not in gone]
                    _put_story(store, _story(video_id, texts, kept), embedder)
        return store

    yield make
    for store in stores:
        store.close()


def _put_chapters(
    store: Store, video_id: str, texts: Sequence[str], embedder: HashTextEmbedder
) -> None:
    for i, text in enumerate(texts):
        payload = {"start_s": CLIP_S * i, "end_s": CLIP_S * (i + 1), "text": text}
        store.put(video_id, "chapter", i, fingerprint="f", payload=payload)
        rows = embedder.embed_texts([text])
        store.put(video_id, "chapter_vector", i, fingerprint="f", payload={}, vectors=rows)


def _story(video_id: str, texts: Sequence[str], kept: Sequence[int]) -> Story:
    pairs = [tuple(kept[i : i + 2]) for i in range(0, len(kept), 2)]
    return Story(
        video_id=video_id,
        duration_s=CLIP_S * len(texts),
        sentences=tuple(Sentence(text=texts[i], clips=(i,)) for i in kept),
        scenes=tuple(
            Scene(
                index=number,
                start_s=CLIP_S * pair[0],
                end_s=CLIP_S * (pair[-1] + 1),
                chapters=pair,
                sentences=tuple(Sentence(text=texts[i], clips=(i,)) for i in pair),
            )
            for number, pair in enumerate(pairs)
        ),
        chapters=tuple(
            Chapter(
                video_id=video_id,
                index=i,
                start_s=CLIP_S * i,
                end_s=CLIP_S * (i + 1),
                text=texts[i],
            )
            for i in kept
        ),
        num_clips=len(texts),
    )


def _put_story(store: Store, story: Story, embedder: HashTextEmbedder) -> None:
    payload = story_to_json(story)
    store.put(story.video_id, "story", fingerprint="f", payload=payload)
    rows = embedder.embed_texts([story.text, *(scene.text for scene in story.scenes)])
    store.put(story.video_id, "story_vector", fingerprint="f", payload={}, vectors=rows)

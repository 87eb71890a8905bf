"""What the index holds is what the store holds; what cannot be read is said."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import StoreError
from fdvs.models.scripted import HashTextEmbedder
from fdvs.search.index import Index
from fdvs.store.store import Store

MakeLibrary = Callable[..., Store]
TEXTS = {
    "b.mp4": ["a red car", "a blue sky", "a green field"],
    "a.mp4": ["two dogs", "two cats", "a red car", "an owl", "a red bus"],
}


def brute_force(
    store: Store, query: np.ndarray, level: str, video_id: str | None
) -> dict[tuple[str, str, int], float]:
    """Cosines from the stored rows, in plain numpy."""
    found = {}
    for video in store.videos():
        if video_id not in (None, video.video_id):
            continue
        for item, artifact in store.get_all(video.video_id, "chapter_vector").items():
            found[video.video_id, "chapter", item] = artifact.vectors
        story = store.get(video.video_id, "story_vector")
        assert story is not None
        assert story.vectors is not None
        found[video.video_id, "story", 0] = story.vectors[:1]
        for number in range(len(story.vectors) - 1):
            found[video.video_id, "scene", number] = story.vectors[number + 1 : number + 2]
    return {
        key: round(float(np.max(rows.astype(np.float64) @ query)), 6)
        for key, rows in found.items()
        if level in ("any", key[1])
    }


@pytest.mark.parametrize("level", ["chapter", "scene", "story", "any"])
@pytest.mark.parametrize("video", [None, "a.mp4", "b.mp4"])
@pytest.mark.parametrize("min_score", [-1.0, 0.0, 0.3])
def test_similar_texts_equal_brute_force_over_the_stored_rows(
    make_library: MakeLibrary,
    embedder: HashTextEmbedder,
    level: str,
    video: str | None,
    min_score: float,
) -> None:
    store = make_library(TEXTS)
    index = Index.load(store)
    video_id = None if video is None else store.find_video(video).video_id
    query = embedder.embed_texts(["a red car and two dogs"])[0]
    found = index.similar(
        query, min_score=min_score, level=None if level == "any" else level, video_id=video_id
    )
    expected = brute_force(store, query.astype(np.float64), level, video_id)
    wanted = {k: c for k, c in expected.items() if c >= min_score}
    by_key = {index.entries[place].key: cosine for place, cosine in found.items()}
    assert by_key.keys() == wanted.keys()
    for key, cosine in by_key.items():
        assert cosine == pytest.approx(wanted[key], abs=2e-6)
        assert index.cosine(query, index.place(key) or 0) == pytest.approx(cosine, abs=2e-6)


def test_entries_are_ordered_by_level_name_and_time(make_library: MakeLibrary) -> None:
    index = Index.load(make_library(TEXTS))
    order = [(entry.level, entry.name, entry.item) for entry in index.entries]
    chapters = [("chapter", "a.mp4", i) for i in range(5)] + [
        ("chapter", "b.mp4", i) for i in range(3)
    ]
    scenes = [("scene", "a.mp4", i) for i in range(3)] + [("scene", "b.mp4", i) for i in range(2)]
    assert order == [*chapters, *scenes, ("story", "a.mp4", 0), ("story", "b.mp4", 0)]
    assert index.entries[2].text == "a red car"
    assert (index.entries[2].start_s, index.entries[2].end_s) == (20.0, 30.0)
    assert index.entries[-1].end_s == 30.0
    assert index.place(("nobody", "story", 0)) is None


def test_a_library_without_videos_finds_nothing(make_library: MakeLibrary) -> None:
    index = Index.load(make_library({}))
    assert len(index.entries) == 0
    query = np.ones(7, np.float32)
    assert index.similar(query, min_score=-1.0, level=None, video_id=None) == {}
    assert index.full_text.search("a red car").scores == {}


def test_an_unknown_video_finds_nothing(make_library: MakeLibrary) -> None:
    index = Index.load(make_library(TEXTS))
    query = np.ones(index.num_dims, np.float32)
    assert index.similar(query, min_score=-1.0, level=None, video_id="nobody") == {}


def test_a_video_that_is_still_being_built_is_found_by_what_is_there(
    make_library: MakeLibrary, embedder: HashTextEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_library({"a.mp4": ["a red car", "two dogs"]}, with_stories=False)
    video_id = store.videos()[0].video_id
    store.put(
        video_id,
        "chapter",
        2,
        fingerprint="f",
        payload={"start_s": 20.0, "end_s": 30.0, "text": "a red rose"},
    )
    index = Index.load(store)
    query = embedder.embed_texts(["red"])[0]
    assert len(index.entries) == 3
    assert index.cosine(query, 2) is None
    assert set(index.similar(query, min_score=-1.0, level=None, video_id=None)) == {0, 1}
    (place,) = index.full_text.search("rose").scores
    assert (index.entries[place].level, index.entries[place].item) == ("chapter", 2)
    assert all(index.is_kept(place) for place in range(3))
    assert len(index.stories) == 0
    assert "1 of 3 texts have no vector" in caplog.text


def test_vectors_of_another_embedder_are_left_out_and_counted(
    make_library: MakeLibrary, embedder: HashTextEmbedder, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_library({"a.mp4": ["a red car", "two dogs", "an owl"]})
    video_id = store.videos()[0].video_id
    rows = np.ones((1, 5), np.float32)
    store.put(video_id, "chapter_vector", 1, fingerprint="f", payload={}, vectors=rows)
    index = Index.load(store)
    assert index.num_dims == embedder.num_dims
    assert "1 of 6 texts" in caplog.text
    with pytest.raises(StoreError, match="2048 numbers, the query's 5"):
        index.similar(rows[0], min_score=0.0, level=None, video_id=None)


def test_vectors_that_are_not_of_unit_length_still_give_cosines(make_library: MakeLibrary) -> None:
    store = make_library({"a.mp4": ["a red car"]}, with_stories=False)
    video_id = store.videos()[0].video_id
    rows = np.array([[3.0, 4.0, 0.0]], np.float32)
    store.put(video_id, "chapter_vector", 0, fingerprint="f", payload={}, vectors=rows)
    index = Index.load(store)
    query = np.array([0.0, 9.0, 0.0], np.float32)
    found = index.similar(query, min_score=-1.0, level=None, video_id=None)
    assert found == {0: pytest.approx(0.8)}


def test_many_rows_are_stacked_in_order_over_the_edges_of_chunks(
    make_library: MakeLibrary, embedder: HashTextEmbedder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.search.row_writer.CHUNK_ROWS", 3)
    store = make_library(TEXTS)
    index = Index.load(store)
    for place, entry in enumerate(index.entries):
        query = embedder.embed_texts([entry.text])[0]
        assert index.cosine(query, place) == pytest.approx(1.0, abs=1e-5)


def test_a_story_may_have_one_vector_per_sentence(make_library: MakeLibrary) -> None:
    store = make_library({"a.mp4": ["a red car", "two dogs", "an owl"]})
    video_id = store.videos()[0].video_id
    rows = np.eye(5, 2048, dtype=np.float32)  # three for the story, then two scenes
    store.put(video_id, "story_vector", fingerprint="f", payload={}, vectors=rows)
    index = Index.load(store)
    nearest = []
    for row in rows:
        found = index.similar(row, min_score=0.99, level=None, video_id=None)
        nearest.append([(index.entries[p].level, index.entries[p].item) for p in found])
    assert nearest == [[("story", 0)]] * 3 + [[("scene", 0)], [("scene", 1)]]


def test_a_video_whose_story_has_too_few_vectors_is_left_out(
    make_library: MakeLibrary, caplog: pytest.LogCaptureFixture
) -> None:
    store = make_library({"a.mp4": ["a red car", "two dogs", "an owl"], "b.mp4": ["a boat"]})
    video_id = store.find_video("a.mp4").video_id
    rows = np.ones((2, 2048), np.float32)
    store.put(video_id, "story_vector", fingerprint="f", payload={}, vectors=rows)
    index = Index.load(store)
    assert {entry.name for entry in index.entries} == {"b.mp4"}
    assert video_id not in index.stories
    assert re.search(r"a\.mp4 is left out.*2 scenes.*2 vectors", caplog.text)


@pytest.mark.parametrize(
    ("stage", "payload"),
    [
        ("chapter", {"start_s": 0.0, "end_s": 1.0}),
        ("chapter", {"start_s": "x", "end_s": 1.0, "text": "t"}),
        ("story", {"video_id": "x"}),
    ],
)
def test_a_video_with_a_payload_of_the_wrong_shape_is_left_out_and_the_remedy_named(
    make_library: MakeLibrary,
    stage: str,
    payload: dict[str, Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = make_library({"a.mp4": ["a red car"], "b.mp4": ["a boat"]})
    store.put(store.find_video("a.mp4").video_id, stage, fingerprint="f", payload=payload)
    assert {entry.name for entry in Index.load(store).entries} == {"b.mp4"}
    assert re.search(rf"{stage}.*a\.mp4.*fdvs remove", caplog.text)


def test_a_video_with_a_damaged_row_is_left_out(make_library: MakeLibrary) -> None:
    store = make_library({"a.mp4": ["a red car"], "b.mp4": ["a boat"]})
    with store.writing() as connection:
        connection.execute(
            "UPDATE artifacts SET payload = '{}' WHERE stage = 'chapter' AND video_id = ?",
            (store.find_video("a.mp4").video_id,),
        )
    assert {entry.name for entry in Index.load(store).entries} == {"b.mp4"}


def test_a_lone_surrogate_in_a_text_is_no_error(make_library: MakeLibrary) -> None:
    store = make_library({"a.mp4": ["a red car"]}, with_stories=False)
    payload = {"start_s": 0.0, "end_s": 10.0, "text": "a red \ud800 car"}
    store.put(store.videos()[0].video_id, "chapter", fingerprint="f", payload=payload)
    index = Index.load(store)
    assert index.entries[0].text == "a red ? car"
    assert len(index.full_text.search("car").scores) == 1


BUILD = """
import sys
from pathlib import Path
from fdvs.store.store import Store
sha256 = "cd" * 32
with Store.open(Path(sys.argv[1])) as store, store.build_lock():
    video = store.add_video(video_id=sha256[:16], sha256=sha256, path=Path("/new.mp4")).video_id
    item = 0
    while True:
        payload = {"start_s": float(item), "end_s": item + 1.0, "text": f"number {item}"}
        store.put(video, "chapter", item, fingerprint="f", payload=payload)
        print(item, flush=True)
        item += 1
"""


def test_an_index_can_be_loaded_while_another_process_builds(make_library: MakeLibrary) -> None:
    store = make_library(TEXTS)
    Index.load(store)
    with subprocess.Popen(
        [sys.executable, "-c", BUILD, str(store.folder)], stdout=subprocess.PIPE, text=True
    ) as builder:
        assert builder.stdout is not None
        seen = -1
        for _ in range(5):
            seen = int(builder.stdout.readline())
        index = Index.load(store)
        hits = index.full_text.search("number")
        builder.kill()
    numbers = [e.item for e in index.entries if e.name == "new.mp4"]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > seen
    assert len(hits.scores) == len(numbers)


def test_the_database_file_stays_sound_after_all_this(make_library: MakeLibrary) -> None:
    store = make_library(TEXTS)
    Index.load(store)
    store.close()
    with sqlite3.connect(Path(store.folder) / "library.sqlite") as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    other.close()

"""Rows of retrieval on miniature folders: gallery, floor, controls, files of captions, resuming."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.config import Config
from fdvs.datasets.examples import Caption, Query, Split
from fdvs.errors import DataError, NotFound, StoreError
from fdvs.models.scripted import HashTextEmbedder
from fdvs.pipelines.evaluation import retrieval_gallery, retrieval_row, vectors
from fdvs.pipelines.evaluation.benchmarks import row_named
from fdvs.pipelines.evaluation.job import Job, Texts
from fdvs.pipelines.evaluation.retrieval_gallery import held_out_ids, task_of
from fdvs.pipelines.evaluation.retrieval_methods import TfIdf, paper_rule, reciprocal_ranks
from fdvs.pipelines.evaluation.run import run_row
from fdvs.pipelines.evaluation.sources import load_captions
from fdvs.pipelines.evaluation.vectors import StoredEmbedder, vectors_file
from fdvs.pipelines.record_log import read_records
from fdvs.search.gallery import Described

THINGS = ("kite", "soup", "horse", "piano", "canoe", "ladder")


def job_of(row: str, out: Path, models: dict[str, Any], **others: Any) -> Job:
    return Job(
        **{"row": row_named(row), "data": None, "out": out, "config": Config(), "models": models,
           "allow_partial": True, **others}
    )  # fmt: skip


def caption(text: str, start_s: float = 0.0) -> Caption:
    return Caption(start_s=start_s, end_s=start_s + 5, text=text)


def split_of(num: int = 6, dataset: str = "msrvtt") -> Split:
    """Each video shows its own thing; one query a video."""
    ids = tuple(f"v{n}" for n in range(num))
    queries = tuple(
        Query(id=f"q{n}", video_id=one, text=f"Somebody has a {THINGS[n]}.", span=(0.0, 5.0))
        for n, one in enumerate(ids)
    )
    return Split(dataset=dataset, name=f"{dataset} made", is_partial=False, video_ids=ids,
                 queries=queries)  # fmt: skip


def texts_of(split: Split, *, missing: int = 0) -> Texts:
    told = {
        one: (caption("Light comes up."), caption(f"There is a {THINGS[n]}.", 5.0))
        for n, one in enumerate(split.video_ids)
    }
    for one in split.video_ids[:missing]:
        del told[one]
    return Texts(source="made", captions=told)


@pytest.mark.parametrize("row", ["retrieval-msrvtt", "prvr-charades"])
def test_what_is_told_is_found_and_another_videos_words_are_not(
    row: str, tmp_path: Path, models: dict[str, Any]
) -> None:
    split = split_of()
    result = retrieval_row.run(job_of(row, tmp_path / "out", models), split, texts_of(split))
    assert result.score == result.floor == result.metrics["R@1"] == 1.0
    assert result.interval == (1.0, 1.0)
    assert result.other_video == 0.0
    assert result.controls["random"] == pytest.approx(1 / 6)
    assert {"story_alone", "chapters_flat", "paper_rule", "ranks_fused"} <= result.controls.keys()
    assert result.num_items == result.num_videos == result.counts["num_candidates"] == 6
    assert ("video to text R@1" in result.metrics) == (row == "retrieval-msrvtt")
    assert result.split == "msrvtt made"
    assert not result.is_partial


def test_scores_that_are_all_equal_find_nothing(tmp_path: Path, models: dict[str, Any]) -> None:
    split = split_of()
    same = {one: (caption("Nothing to see."),) for one in split.video_ids}
    result = retrieval_row.run(
        job_of("retrieval-msrvtt", tmp_path / "out", models),
        split,
        Texts(source="made", captions=same),
    )
    assert result.score == 0.0
    assert result.floor == 0.0
    assert result.counts["num_tied"] == 6


def test_videos_without_words_are_left_out_and_the_name_says_so(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    split = split_of()
    result = retrieval_row.run(
        job_of("retrieval-msrvtt", tmp_path / "out", models), split, texts_of(split, missing=2)
    )
    assert result.is_partial
    assert result.split.endswith("4 of 6 candidates")
    assert result.counts["num_queries_without_words"] == 2
    assert result.metrics["R@1, queries without words missed"] == pytest.approx(4 / 6)
    assert any("2 queries" in note for note in result.notes)


def test_no_video_with_words_is_an_error(tmp_path: Path, models: dict[str, Any]) -> None:
    split = split_of()
    with pytest.raises(NotFound, match="no query of msrvtt made"):
        retrieval_row.run(
            job_of("retrieval-msrvtt", tmp_path / "out", models),
            split,
            Texts(source="made", captions={"other": (caption("A kite."),)}),
        )


def test_predictions_hold_ranks_and_ids_and_no_text(tmp_path: Path, models: dict[str, Any]) -> None:
    split = split_of()
    job = job_of("retrieval-msrvtt", tmp_path / "out", models)
    for _ in range(2):  # the second run finds its lines and adds none
        retrieval_row.run(job, split, texts_of(split))
    settings, records = read_records(job.out / "predictions.jsonl")
    assert settings["fusion"]["num_near"] == 10
    assert records["q3"]["rank"] == 1
    assert records["q3"]["best"][0] == "v3"
    assert len(records) == 6
    assert "kite" not in (job.out / "predictions.jsonl").read_text()


def test_videos_that_nothing_was_chosen_on_are_reported_apart(
    tmp_path: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = {"v1", "v2", "v5"}
    monkeypatch.setattr(retrieval_row, "held_out_ids", lambda dataset: frozenset(chosen))
    split = split_of()
    result = retrieval_row.run(
        job_of("retrieval-msrvtt", tmp_path / "out", models), split, texts_of(split)
    )
    assert result.groups["num_held_out"] == result.groups["num_held_out_in_all"] == 3
    assert result.groups["num_held_out_candidates"] == 3
    assert result.groups["num_held_out_in_all_candidates"] == 6
    assert result.groups["held_out R@1"] == 1.0
    assert result.details["held_out"]["gain_R@1"][0] == 0.0
    assert result.details["held_out"]["strongest_plain"] in result.controls.keys() | {"tf_idf"}
    assert any("chosen on videos other than the 3" in note for note in result.notes)


def test_held_out_videos_without_queries_make_no_group(
    tmp_path: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval_row, "held_out_ids", lambda dataset: frozenset({"v5"}))
    split = split_of()
    texts = texts_of(split)
    split = replace(split, queries=split.queries[:2])
    result = retrieval_row.run(job_of("retrieval-msrvtt", tmp_path / "out", models), split, texts)
    assert not result.groups
    assert result.counts["num_candidates"] == 6


def test_quick_takes_a_part_of_the_videos_and_says_so(
    tmp_path: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retrieval_row, "QUICK_VIDEOS", 4)
    split = split_of()
    result = retrieval_row.run(
        job_of("retrieval-msrvtt", tmp_path / "out", models, quick=True), split, texts_of(split)
    )
    assert result.num_items == result.counts["num_candidates"] == 4
    assert result.is_partial


def test_the_committed_list_holds_two_thousand_ids_each_once() -> None:
    ids = held_out_ids("activitynet_captions")
    assert len(ids) == 2000
    assert all(one.startswith("v_") and len(one) == 13 for one in ids)
    assert not held_out_ids("msrvtt")
    assert len(retrieval_gallery.first_held_out("activitynet_captions", 300)) == 300


@pytest.mark.needs_data
def test_the_committed_list_is_in_both_descriptions(data_dir: Path) -> None:
    folder = data_dir / "activitynet_captions"
    both = [json.loads((folder / name).read_text()).keys() for name in ("val.json", "test.json")]
    assert held_out_ids("activitynet_captions") <= both[0] & both[1]
    assert len(both[0] & both[1]) == 4885


def test_a_list_with_an_id_twice_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ids").mkdir()
    (tmp_path / "ids" / "activitynet_oracle_2000.txt").write_text("v_a\nv_a\n")
    monkeypatch.setattr(retrieval_gallery, "files", lambda package: tmp_path)
    with pytest.raises(DataError, match="twice"):
        held_out_ids("activitynet_captions")


def test_clips_are_candidates_with_the_captions_of_their_stretch() -> None:
    queries = tuple(
        Query(id=f"c_{n}", video_id="c", text="Stir.", span=(10.0 * n, 10.0 * n + 10))
        for n in range(3)
    )
    split = Split(dataset="youcook2", name="youcook2 val", is_partial=False, video_ids=("c",),
                  queries=queries)  # fmt: skip
    told = {"c": (caption("Chop.", 2.0), caption("Fry.", 8.0), caption("Serve.", 12.0))}
    task = task_of(split, Texts(source="made", captions=told))
    assert [video.story for video in task.videos] == ["Chop. Fry.", "Fry. Serve."]
    assert task.right == (0, 1)
    assert (task.num_official, task.num_unanswerable) == (3, 1)
    whole = replace(split, queries=(replace(queries[0], span=None),))
    assert task_of(whole, Texts(source="made", captions=told)).videos[0].story.endswith("Serve.")


def test_a_part_of_a_task_keeps_query_and_candidate_together() -> None:
    split = split_of()
    task = task_of(split, texts_of(split)).only(frozenset({"v4", "v2"}))
    assert task.video_ids == ("v2", "v4")
    assert [query.id for query in task.queries] == ["q2", "q4"]
    assert task.right == (0, 1)


def test_reciprocal_ranks_are_those_written_out() -> None:
    one = np.array([[0.9, 0.1, 0.9]], np.float32)  # ranks 1, 3, 1
    two = np.array([[0.0, 5.0, 3.0]], np.float32)  # ranks 3, 1, 2
    found = reciprocal_ranks(one, two)
    np.testing.assert_allclose(found, [[1 / 61 + 1 / 63, 1 / 63 + 1 / 61, 1 / 61 + 1 / 62]])


def test_tf_idf_of_stop_words_alone_scores_nothing() -> None:
    assert TfIdf(["of the", "and"]).scores(["a kite"]).tolist() == [[0, 0]]


def test_the_papers_rule_is_the_best_of_story_and_chapters() -> None:
    class Block:
        plain_story = np.array([[0.1, 0.5]])
        plain_best = np.array([[0.3, 0.2]])

    assert paper_rule(Block()).tolist() == [[0.3, 0.5]]  # type: ignore[arg-type]


def write_charades(folder: Path) -> None:
    lines = [f"V{n} 0.0 5.0##person holds a {THINGS[n]}." for n in range(3)]
    (folder / "charades_sta_test.txt").write_text("\n".join(lines))


def write_msrvtt(folder: Path) -> None:
    lines = [f"ret{n},msr{n},V{n},a person holds a {THINGS[n]}" for n in range(3)]
    (folder / "msrvtt_test.csv").write_text("\n".join(["key,vid_key,video_id,sentence", *lines]))


def write_didemo(folder: Path) -> None:
    records = [
        {"annotation_id": n, "video": f"V{n}", "description": f"a {THINGS[n]} is held",
         "times": [[0, 0], [0, 1]], "num_segments": 6}
        for n in range(3)
    ]  # fmt: skip
    (folder / "test_data.json").write_text(json.dumps(records))
    (folder / "split_test_list.txt").write_text("V0\nV1\nV2\n")


def write_youcook2(folder: Path) -> None:
    lines = [f"5,0,113,hold a {THINGS[n]},V{n}" for n in range(3)]
    (folder / "validation_youcook.csv").write_text("\n".join(["end,start,task,text,video_id",
                                                              *lines]))  # fmt: skip


@pytest.mark.parametrize(
    ("row", "write"),
    [
        ("prvr-charades", write_charades),
        ("retrieval-msrvtt", write_msrvtt),
        ("retrieval-didemo", write_didemo),
        ("retrieval-youcook2", write_youcook2),
    ],
)
def test_rows_without_captions_run_from_official_files_and_a_file_of_captions(
    row: str, write: Any, tmp_path: Path, models: dict[str, Any]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write(data)
    file = tmp_path / "captions.json"
    file.write_text(json.dumps({f"V{n}": [f"Someone holds a {THINGS[n]}."] for n in range(3)}))
    job = job_of(row, tmp_path / row, models, data=data, captions=file)
    result = run_row(job)
    assert result.score == 1.0
    assert result.num_items == 3
    assert "partial" in result.split
    assert result.source == "captions file captions.json"


def test_a_row_runs_from_videos(tmp_path: Path, models: dict[str, Any], make_film: Any) -> None:
    data, films = tmp_path / "data", tmp_path / "films"
    data.mkdir()
    films.mkdir()
    lines = [
        f"ret{n},msr{n},video{n},a wall painted {colour}"
        for n, colour in enumerate(("red", "green", "blue"))
    ]
    (data / "msrvtt_test.csv").write_text("\n".join(["key,vid_key,video_id,sentence", *lines]))
    for n, colour in enumerate(("red", "green")):  # the third one is missing
        make_film(films / f"video{n}.mp4", [(colour, 1.0)])
    result = run_row(job_of("retrieval-msrvtt", tmp_path / "out", models, data=data, videos=films))
    assert result.score == 1.0
    assert result.counts["num_candidates"] == 2
    assert result.counts["num_videos_missing"] == 1
    assert "2 of 3 candidates" in result.split


def write(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value))
    return path


def test_captions_come_as_texts_or_with_times(tmp_path: Path) -> None:
    found = load_captions(
        write(
            tmp_path / "c.json",
            {
                "a": ["One.", " ", "Three\u202e."],
                "b": [
                    {"start_s": 9, "end_s": 10.5, "text": "Late."},
                    {"start_s": 0, "end_s": 2, "text": "Early."},
                ],
                "silent": [""],
                "none": [],
            },
        )
    )
    assert found["a"] == (
        Caption(start_s=0.0, end_s=1.0, text="One."),
        Caption(start_s=2.0, end_s=3.0, text="Three ."),
    )
    assert [one.text for one in found["b"]] == ["Early.", "Late."]
    assert found["b"][1].end_s == 10.5
    assert found.keys() == {"a", "b"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "nothing in it"),
        ({"../a": ["x"]}, "expected an id"),
        ({"a": "x"}, "expected a list"),
        ({"a": ["x", {"start_s": 0, "end_s": 1, "text": "y"}]}, "several kinds"),
        ({"a": [3]}, "several kinds"),
        ({"a": [{"start_s": 2, "end_s": 2, "text": "y"}]}, "a time after"),
        ({"a": [{"start_s": -1, "end_s": 2, "text": "y"}]}, "start_s"),
        ({"a": [{"start_s": 0, "end_s": 2}]}, "no field 'text'"),
        ({"a": [{"start_s": 0, "end_s": 2, "text": 5}]}, "expected a text"),
        ({"a": ["x" * 20_001]}, "characters; at most"),
        ({"a": ["x"], " a": ["x"]}, "twice"),
        ({"a": ["x"] * 20_001}, "texts; at most"),
    ],
)
def test_a_wrong_file_of_captions_is_refused(tmp_path: Path, value: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        load_captions(write(tmp_path / "c.json", value))


def test_too_many_videos_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fdvs.pipelines.evaluation import sources

    monkeypatch.setattr(sources, "MAX_VIDEOS", 1)
    with pytest.raises(DataError, match="2 videos; at most 1"):
        load_captions(write(tmp_path / "c.json", {"a": ["x"], "b": ["x"]}))


class Counting(HashTextEmbedder):
    """Remembers what it was asked, and can break."""

    def __init__(self, breaks_after: int | None = None) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.breaks_after = breaks_after

    def embed_texts(self, texts: Any) -> Any:
        if self.breaks_after is not None and len(self.asked) >= self.breaks_after:
            raise RuntimeError("out of power")
        self.asked += texts
        return super().embed_texts(texts)


def stored(embedder: Counting, path: Path, fingerprint: str = "f") -> StoredEmbedder:
    return StoredEmbedder(
        lambda: embedder, identity=embedder.identity, fingerprint=fingerprint, path=path
    )


def test_vectors_are_made_once_and_are_those_of_the_embedder(tmp_path: Path) -> None:
    texts = ["a kite", "", "a soup", "a kite"]
    first, again = Counting(), Counting()
    made = stored(first, tmp_path / "v.sqlite").embed_texts(texts)
    second = stored(again, tmp_path / "v.sqlite")
    np.testing.assert_array_equal(second.embed_texts(texts), made)
    np.testing.assert_array_equal(made, HashTextEmbedder().embed_texts(texts))
    assert sorted(first.asked) == ["", "a kite", "a soup"]
    assert again.asked == []
    assert (second.num_found, second.num_made) == (3, 0)
    assert second.embed_texts([]).shape == (0, 512)


def test_an_embedding_that_was_cut_off_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vectors, "NUM_AT_ONCE", 2)
    texts = [f"text {n}" for n in range(6)]
    with pytest.raises(RuntimeError, match="power"):
        stored(Counting(breaks_after=4), tmp_path / "v.sqlite").embed_texts(texts)
    rest = Counting()
    found = stored(rest, tmp_path / "v.sqlite").embed_texts(texts)
    assert len(rest.asked) == 2
    np.testing.assert_array_equal(found, HashTextEmbedder().embed_texts(texts))


def test_another_embedder_does_not_get_these_vectors(tmp_path: Path) -> None:
    stored(Counting(), tmp_path / "v.sqlite").embed_texts(["a kite"])
    other = Counting()
    stored(other, tmp_path / "v.sqlite", fingerprint="g").embed_texts(["a kite"])
    assert other.asked == ["a kite"]


@pytest.mark.parametrize("row", [b"\0\0\x80\x7f", b"\0\0\x80\x7f" * 512])
def test_damaged_vectors_are_told(tmp_path: Path, row: bytes) -> None:
    path = tmp_path / "v.sqlite"
    stored(Counting(), path).embed_texts(["a kite", "a soup"])
    with sqlite3.connect(path) as database:
        database.execute("UPDATE vectors SET row = ? WHERE rowid = 1", [row])
    with pytest.raises(StoreError, match="delete it"):
        stored(Counting(), path).embed_texts(["a kite", "a soup"])


def test_a_file_that_is_none_of_ours_is_told(tmp_path: Path) -> None:
    path = tmp_path / "v.sqlite"
    path.write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(StoreError, match=r"v\.sqlite"):
        stored(Counting(), path)


def test_rows_of_one_evaluation_share_their_vectors(tmp_path: Path, models: dict[str, Any]) -> None:
    one = vectors_file(job_of("prvr-activitynet", tmp_path / "prvr-activitynet", models))
    two = vectors_file(job_of("retrieval-activitynet", tmp_path / "retrieval-activitynet", models))
    alone = vectors_file(job_of("prvr-activitynet", tmp_path / "mine", models))
    assert one == two == tmp_path / "vectors.sqlite"
    assert alone == tmp_path / "mine" / "vectors.sqlite"


def test_described_videos_need_a_word() -> None:
    split = split_of(2)
    told = {"v0": (caption(""),), "v1": (caption("A soup."),)}
    task = task_of(split, Texts(source="made", captions=told))
    assert task.videos == (Described(video_id="v1", story="A soup.", chapters=("A soup.",)),)

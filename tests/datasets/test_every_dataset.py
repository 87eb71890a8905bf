"""What holds for all datasets: whole, partial, too many, missing, malformed, doubled."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest

from fdvs.datasets.registry import DATASETS
from fdvs.errors import AbsentData, DataError, PartialData, UnknownName


def test_every_dataset_has_invented_files_here(tiny: Callable[[str], Any]) -> None:
    for name in DATASETS:
        assert tiny(name).name == name


def test_whole_files_give_a_split_that_is_not_partial(each: Any) -> None:
    split = each.load()
    assert not split.is_partial
    assert "partial" not in split.name
    assert split.name.startswith(each.name)
    assert split.dataset == each.name
    assert split.expected == {"videos": each.videos, "records": each.records}
    assert len(split.video_ids) == len(set(split.video_ids)) == each.videos
    items = [*split.choices, *split.questions, *split.queries]
    assert len(items) == each.records
    assert len({item.id for item in items}) == each.records
    assert {item.video_id for item in items} == set(split.video_ids)


def test_loading_twice_gives_the_same(each: Any) -> None:
    assert each.load() == each.load()


def test_the_parent_folder_will_do(each: Any) -> None:
    assert each.load(each.folder.parent) == each.load()


def test_a_folder_inside_wins_over_a_stray_file_of_the_same_name(each: Any) -> None:
    good = each.load()
    for name in each.files:
        (each.folder.parent / name).write_text("of another dataset")
    assert each.load(each.folder.parent) == good


def test_fewer_records_than_official_are_refused_unless_allowed(each: Any) -> None:
    each.official(videos=each.videos + 4, records=each.records + 5)
    with pytest.raises(PartialData, match=f"{each.records} records.*--allow-partial"):
        each.load()
    split = each.load(allow_partial=True)
    assert split.is_partial
    assert split.name.endswith(f"(partial, {each.records} of {each.records + 5})")


def test_all_records_but_fewer_videos_are_partial_too(each: Any) -> None:
    each.official(videos=each.videos + 1)
    with pytest.raises(PartialData):
        each.load()
    assert each.load(allow_partial=True).is_partial


@pytest.mark.parametrize("short", ["videos", "records"])
def test_more_than_official_is_another_split(each: Any, short: str) -> None:
    each.official(**{short: getattr(each, short) - 1})
    with pytest.raises(DataError, match=f"{short}.*official"):
        each.load(allow_partial=True)


def test_a_missing_file_is_named_with_where_it_was_looked_for(each: Any) -> None:
    each.write()
    for name in sorted(each.files):
        (each.folder / name).unlink()
        with pytest.raises(AbsentData) as caught:
            each.load_as_is()
        assert name in str(caught.value)
        assert str(each.folder) in str(caught.value)
        each.write()


def test_a_missing_folder_is_named(each: Any) -> None:
    each.write()
    shutil.rmtree(each.folder)
    with pytest.raises(DataError, match="no such folder"):
        each.load_as_is()


def test_files_that_lie_in_several_folders_are_not_put_together(
    tiny: Callable[[str], Any],
) -> None:
    made = tiny("activitynet_qa")
    made.write()
    (made.folder / "test_a.json").rename(made.folder.parent / "test_a.json")
    with pytest.raises(AbsentData, match=r"no one folder with all of test_q\.json, test_a\.json"):
        made.load_as_is(made.folder.parent)


def test_an_unknown_split_is_answered_with_the_known_ones(each: Any) -> None:
    with pytest.raises(UnknownName, match="split 'tset'"):
        each.load(split="tset")


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", b"{", b"[]", b"null", b"[1]"])
def test_each_file_spoilt_is_one_error_that_names_it(each: Any, content: bytes) -> None:
    for name in list(each.files):
        kept, each.files[name] = each.files[name], content
        with pytest.raises(DataError, match=name.replace(".", r"\.")) as caught:
            each.load(allow_partial=True)
        assert "\n" not in str(caught.value)
        each.files[name] = kept


def test_a_byte_order_mark_changes_nothing(each: Any) -> None:
    plain = each.load()
    for name in each.files:
        if not name.endswith(".zip"):
            path = each.folder / name
            path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    each.files = {}
    assert each.load() == plain


def drop(record: dict[str, Any], field: str) -> None:
    del record[field]


def put(field: str, value: Any) -> Callable[[dict[str, Any]], None]:
    return lambda record: record.__setitem__(field, value)


ANNO, NEXT, ACTIVITY = "subset_anno.json", "val.csv", "val.json"
INTENT = "Intentqa_anno.json"
QUESTIONS, ANSWERS = "test_q.json", "test_a.json"
MOMENTS, PAIRS, CLIPS = "test_data.json", "msrvtt_test.csv", "validation_youcook.csv"
QA = "msrvtt_qa_val.csv"


@pytest.mark.parametrize(
    ("name", "file", "place", "field", "value", "said"),
    [
        ("egoschema", ANNO, "uid-a", "truth", 5, "whole number from 0 to 4"),
        ("egoschema", ANNO, "uid-a", "truth", "3", "whole number"),
        ("egoschema", ANNO, "uid-a", "truth", True, "whole number"),
        ("egoschema", ANNO, "uid-a", "truth", 3.0, "whole number"),
        ("egoschema", ANNO, "uid-b", "option 4", None, "option 4 is None; expected a text"),
        ("egoschema", ANNO, "uid-b", "question", " \u200b\n", "1 to 20000 characters"),
        ("egoschema", ANNO, "uid-b", "q_uid", "uid-a", "own id uid-b"),
        ("egoschema", ANNO, "uid-b", "q_uid", "../../x", "expected an id"),
        ("intentqa", INTENT, "11-0", "truth", 5, "whole number from 0 to 4"),
        ("intentqa", INTENT, "11-0", "type", "DO", "one of CW, CH"),
        ("intentqa", INTENT, "22-3", "q_uid", "11-0", "own id 22-3"),
        ("intentqa", INTENT, "22-3", "video_id", "../x", "expected an id"),
        ("nextqa", NEXT, 1, "answer", "5", "line 3: answer is '5'; expected a whole"),
        ("nextqa", NEXT, 1, "answer", "", "whole number"),
        ("nextqa", NEXT, 1, "type", "XX", "one of CW, CH"),
        ("nextqa", NEXT, 1, "video", "a/b", "expected an id"),
        ("nextqa", NEXT, 1, "a3", "", "a3 is ''; expected a text"),
        ("nextqa", NEXT, 2, "qid", "0", "id '11_0' twice"),
        ("activitynet_captions", ACTIVITY, "v_aa", "duration", 0, "number from 0.01"),
        ("activitynet_captions", ACTIVITY, "v_aa", "duration", 10**400, "number from 0.01"),
        ("activitynet_captions", ACTIVITY, "v_aa", "timestamps", [[0, 1]], "2 spans"),
        ("activitynet_captions", ACTIVITY, "v_aa", "timestamps", [[0, 1], [2]], "start, end"),
        ("activitynet_captions", ACTIVITY, "v_aa", "timestamps", [[0, 1], [3, 3]], "after start"),
        ("activitynet_captions", ACTIVITY, "v_aa", "timestamps", [[0, 1], [3, 30]], "to 20.02"),
        ("activitynet_captions", ACTIVITY, "v_aa", "timestamps", [[-1, 1], [3, 4]], "from 0"),
        ("activitynet_captions", ACTIVITY, "v_aa", "timestamps", {}, "a list with elements"),
        ("activitynet_captions", ACTIVITY, "v_aa", "sentences", ["a", 2], "expected a text"),
        ("activitynet_qa", QUESTIONS, 0, "question_id", "v_bb_4", "id 'v_bb_4' twice"),
        ("activitynet_qa", QUESTIONS, 0, "question_id", "v_cc_4", "in one of them only"),
        ("activitynet_qa", ANSWERS, 0, "question_id", "v_aa_1", "id 'v_aa_1' twice"),
        ("activitynet_qa", ANSWERS, 0, "type", 9, "whole number from 0 to 8"),
        ("activitynet_qa", ANSWERS, 0, "answer", 3, "expected a text"),
        ("didemo", MOMENTS, 0, "times", [[0]], "pairs of segments"),
        ("didemo", MOMENTS, 0, "times", [[3, 2]], "whole number from 3 to 5"),
        ("didemo", MOMENTS, 0, "times", [], "a list with elements"),
        ("didemo", MOMENTS, 0, "annotation_id", 7, "id '7' twice"),
        ("didemo", MOMENTS, 0, "num_segments", 7, "whole number from 1 to 6"),
        ("msrvtt", PAIRS, 0, "video_id", "video9", "video_id: id 'video9' twice"),
        ("msrvtt", PAIRS, 0, "key", "ret1", "id 'ret1' twice"),
        ("msrvtt_qa", QA, 0, "question_id", "2", "id '2' twice"),
        ("msrvtt_qa", QA, 0, "video_id", "1201", "whole number from 6513 to 7009"),
        ("youcook2", CLIPS, 0, "end", "47", "after start"),
        ("youcook2", CLIPS, 0, "end", "nan", "number from 0"),
        ("youcook2", CLIPS, 0, "end", "1e3", "number from 0"),
        ("youcook2", CLIPS, 0, "start", "-1", "number from 0"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_what_was_due(
    tiny: Callable[[str], Any], name: str, file: str, place: Any, field: str, value: Any, said: str
) -> None:
    made = tiny(name)
    made.files[file][place][field] = value
    with pytest.raises(DataError) as caught:
        made.load(allow_partial=True)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "file", "place", "field"),
    [
        ("egoschema", ANNO, "uid-a", "option 2"),
        ("egoschema", ANNO, "uid-a", "q_uid"),
        ("activitynet_captions", ACTIVITY, "v_bb", "sentences"),
        ("activitynet_captions", ACTIVITY, "v_bb", "duration"),
        ("activitynet_qa", QUESTIONS, 0, "video_name"),
        ("activitynet_qa", ANSWERS, 0, "type"),
        ("didemo", MOMENTS, 0, "description"),
        ("didemo", MOMENTS, 0, "times"),
    ],
)
def test_a_missing_field_is_named(
    tiny: Callable[[str], Any], name: str, file: str, place: Any, field: str
) -> None:
    made = tiny(name)
    drop(made.files[file][place], field)
    with pytest.raises(DataError, match=field):
        made.load(allow_partial=True)


@pytest.mark.parametrize(
    ("name", "file", "column"),
    [
        ("nextqa", NEXT, "type"),
        ("msrvtt", PAIRS, "sentence"),
        ("msrvtt_qa", QA, "answer"),
        ("msvd_qa", "msvd_qa_val.csv", "video_name"),
        ("youcook2", CLIPS, "end"),
    ],
)
def test_a_missing_column_is_named_beside_those_found(
    tiny: Callable[[str], Any], name: str, file: str, column: str
) -> None:
    made = tiny(name)
    for row in made.files[file]:
        drop(row, column)
    with pytest.raises(DataError, match=f"no column {column}; expected .*{column}.*, found"):
        made.load(allow_partial=True)

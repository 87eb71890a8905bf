"""Queries with spans, joined paragraphs, open questions with their official kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fdvs.datasets import examples
from fdvs.datasets.examples import Caption, OpenQuestion, Query
from fdvs.errors import DataError


def test_activitynet_sentences_keep_the_order_of_the_file(tiny: Callable[[str], Any]) -> None:
    split = tiny("activitynet_captions").load()
    assert split.queries == (
        Query(id="v_aa_0", video_id="v_aa", text="It ends.", span=(5, 20)),
        Query(id="v_aa_1", video_id="v_aa", text="It begins.", span=(0, 5.5)),
        Query(id="v_bb_0", video_id="v_bb", text="A day.", span=(0, 9)),
    )
    assert split.durations_s == {"v_aa": 20, "v_bb": 9}


def test_the_second_description_has_its_own_file_and_name(tiny: Callable[[str], Any]) -> None:
    made = tiny("activitynet_captions")
    made.files["test.json"] = {
        "v_bb": {"duration": 9, "timestamps": [[1, 2]], "sentences": ["Rain."]}
    }
    split = made.load(split="val_2", allow_partial=True)
    assert split.name == "activitynet_captions val_2, the second description (partial, 1 of 17031)"
    assert split.queries[0].text == "Rain."


def test_the_authors_own_file_names_are_taken_too(tiny: Callable[[str], Any]) -> None:
    made = tiny("activitynet_captions")
    made.files["val_1.json"] = made.files.pop("val.json")
    assert len(made.load().queries) == 3


def test_paragraphs_join_a_videos_sentences_and_joining_twice_changes_nothing(
    tiny: Callable[[str], Any],
) -> None:
    split = examples.by_paragraph(tiny("activitynet_captions").load())
    assert split.queries == (
        Query(id="v_aa", video_id="v_aa", text="It ends. It begins."),
        Query(id="v_bb", video_id="v_bb", text="A day."),
    )
    assert examples.by_paragraph(split) == split


def test_a_description_can_stand_for_captions_in_time_order(tiny: Callable[[str], Any]) -> None:
    queries = tiny("activitynet_captions").load().queries
    without_span = Query(id="x", video_id="v_aa", text="no time")
    assert examples.captions_of([*queries, without_span]) == {
        "v_aa": (
            Caption(start_s=0, end_s=5.5, text="It begins."),
            Caption(start_s=5, end_s=20, text="It ends."),
        ),
        "v_bb": (Caption(start_s=0, end_s=9, text="A day."),),
    }


def test_didemo_takes_the_listed_videos_and_the_span_most_chose(tiny: Callable[[str], Any]) -> None:
    split = tiny("didemo").load()
    assert split.video_ids == ("u@N1_x.mov", "y.")
    assert [(query.id, query.span) for query in split.queries] == [
        ("5", (10, 20)),
        ("7", (25, 30)),
        ("8", (5, 15)),
    ]
    joined = examples.by_paragraph(split).queries
    assert joined[0].text == "moment 5 moment 7"


def test_a_didemo_span_ends_with_the_video(tiny: Callable[[str], Any]) -> None:
    made = tiny("didemo")
    made.files["test_data.json"][0] |= {"times": [[4, 5]], "num_segments": 5}
    assert made.load().queries[0].span == (20, 25)


def test_didemo_without_a_list_is_another_split(tiny: Callable[[str], Any]) -> None:
    made = tiny("didemo")
    made.files.pop("split_test_list.txt")
    split = made.load(split="test_all", allow_partial=True)
    assert len(split.queries) == 4
    assert "leave out" in split.name


@pytest.mark.parametrize(
    ("ids", "said"), [("a\na\n", "twice"), ("a b\n", "expected an id"), ("\n", "one video id")]
)
def test_a_malformed_id_list_is_refused(tiny: Callable[[str], Any], ids: str, said: str) -> None:
    made = tiny("didemo")
    made.files["split_test_list.txt"] = ids
    with pytest.raises(DataError, match=said):
        made.load(allow_partial=True)


def test_msrvtt_pairs_have_the_files_keys(tiny: Callable[[str], Any]) -> None:
    split = tiny("msrvtt").load()
    assert split.name == "msrvtt test 1k-A"
    assert split.queries[0] == Query(id="ret0", video_id="video8", text="a, b and c")


def test_a_youcook2_candidate_is_a_stretch_of_a_video(tiny: Callable[[str], Any]) -> None:
    split = tiny("youcook2").load()
    assert [(query.id, query.video_id, query.span) for query in split.queries] == [
        ("xH_0", "xH", (47, 60)),
        ("yy_0", "yy", (0, 9.5)),
        ("xH_1", "xH", (60, 70)),
    ]


def test_charades_sentences_are_numbered_by_video(tiny: Callable[[str], Any]) -> None:
    split = tiny("charades_sta").load()
    assert split.queries[0] == Query(
        id="AAAAA_0", video_id="AAAAA", text="someone opens a box.", span=(0, 3.5)
    )
    assert [query.id for query in split.queries] == ["AAAAA_0", "BBBBB_0", "AAAAA_1"]
    assert split.queries[2].text == "they # ##."


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("AAAAA 0 3 no mark", "expected VIDEO START END##sentence"),
        ("AAAAA 0##three cells", "expected VIDEO START END##sentence"),
        ("AAAAA 3 2##backwards", "after start"),
        ("AAAAA x 2##word", "start is 'x'; expected a number"),
        ("AAAAA 0 2##", "sentence is ''; expected a text"),
        ("../up 0 2##climb", "expected an id"),
    ],
)
def test_a_malformed_charades_line_is_named(
    tiny: Callable[[str], Any], line: str, said: str
) -> None:
    made = tiny("charades_sta")
    made.files["charades_sta_test.txt"] += line + "\n"
    with pytest.raises(DataError) as caught:
        made.load(allow_partial=True)
    assert said in str(caught.value)
    assert "line 5" in str(caught.value)


def test_too_many_charades_lines_are_refused(
    tiny: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.datasets.charades_sta.MAX_ROWS", 3)
    with pytest.raises(DataError, match="over 3 lines"):
        tiny("charades_sta").load()


def test_activitynet_answers_meet_their_questions_by_id(tiny: Callable[[str], Any]) -> None:
    split = tiny("activitynet_qa").load()
    assert split.questions == (
        OpenQuestion(id="v_aa_1", video_id="aa", question="is it red", answer="no", kind="3"),
        OpenQuestion(id="v_bb_4", video_id="bb", question="where", answer="garden", kind="6"),
    )


def test_val_of_the_generated_qa_sets_says_that_it_is_not_the_published_test(
    tiny: Callable[[str], Any],
) -> None:
    assert tiny("msrvtt_qa").load().name == "msrvtt_qa val, not the published test"
    assert tiny("msvd_qa").load().name == "msvd_qa val, not the published test"


def test_the_kind_of_a_generated_question_is_its_first_word(tiny: Callable[[str], Any]) -> None:
    split = tiny("msrvtt_qa").load()
    assert [question.kind for question in split.questions] == ["what", "who", "other"]


@pytest.mark.parametrize(
    ("name", "number", "video_id"), [("msrvtt_qa", 6600, "video6600"), ("msvd_qa", 1300, "vid1300")]
)
def test_the_authors_json_is_taken_as_well_as_the_csv(
    tiny: Callable[[str], Any], name: str, number: int, video_id: str
) -> None:
    made = tiny(name)
    made.official(videos=1, records=1)
    record = {"id": 44, "video_id": number, "question": "who?", "answer": "owl", "category_id": 1}
    made.files = {"val_qa.json": [record]}
    assert made.load().questions == (
        OpenQuestion(id="44", video_id=video_id, question="who?", answer="owl", kind="who"),
    )


def test_a_file_of_the_other_split_is_not_taken_for_a_part_of_this_one(
    tiny: Callable[[str], Any],
) -> None:
    made = tiny("msrvtt_qa")
    made.files = {"test_qa.json": [{"id": 4, "video_id": 6600, "question": "who?", "answer": "a"}]}
    with pytest.raises(DataError, match="whole number from 7010 to 9999"):
        made.load(split="test", allow_partial=True)

"""EgoSchema and NExT-QA: what their questions and captions become."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from fdvs.datasets import nextqa
from fdvs.datasets.egoschema import readable
from fdvs.datasets.examples import Caption, ChoiceQuestion
from fdvs.datasets.nextqa import parse_captions
from fdvs.errors import AbsentData, DataError, PartialData

CAPS, LAVILA = "nextqa_allcaps_1fps.zip", "lavila_subset.json"


def caption(second: int, text: str) -> Caption:
    return Caption(start_s=second, end_s=second + 1, text=text)


def test_an_egoschema_question_keeps_its_options_in_order(tiny: Callable[[str], Any]) -> None:
    split = tiny("egoschema").load()
    assert split.choices[0] == ChoiceQuestion(
        id="uid-a",
        video_id="uid-a",
        question="what?",
        options=tuple(f"uid-a way {i}" for i in range(5)),
        answer=3,
    )
    assert split.durations_s == {"uid-a": 180.0, "uid-b": 180.0}


def official(made: Any) -> Any:
    """Turn the carrier's file into the authors' two, with a question whose answer is secret."""
    records = made.files.pop("subset_anno.json")
    made.files["subset_answers.json"] = {uid: one["truth"] for uid, one in records.items()}
    secret = {**records["uid-a"], "q_uid": "uid-secret"}
    made.files["questions.json"] = [
        {key: value for key, value in one.items() if key != "truth"}
        for one in (secret, *records.values())
    ]
    return made


def test_the_authors_two_files_give_the_same_as_the_joined_one(tiny: Callable[[str], Any]) -> None:
    joined = tiny("egoschema").load()
    made = official(tiny("egoschema"))
    (made.folder / "subset_anno.json").unlink()
    assert made.load() == joined


def test_questions_without_the_file_of_answers_are_refused(tiny: Callable[[str], Any]) -> None:
    made = official(tiny("egoschema"))
    made.files.pop("subset_answers.json")
    with pytest.raises(AbsentData, match=r"subset_answers\.json: no such file"):
        made.load()


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ({"uid-a": 5}, "whole number from 0 to 4"),
        ({"uid-a": 3, "uid-b": 0, "uid-x": 1}, "no question for 1 of the answers, e.g. uid-x"),
        ({"../a": 3}, "expected an id"),
    ],
)
def test_wrong_answers_of_egoschema_are_refused(
    tiny: Callable[[str], Any], answers: dict[str, int], said: str
) -> None:
    made = official(tiny("egoschema"))
    made.files["subset_answers.json"] = answers
    with pytest.raises(DataError, match=said):
        made.load(allow_partial=True)


def test_a_question_that_stands_twice_is_refused(tiny: Callable[[str], Any]) -> None:
    made = official(tiny("egoschema"))
    made.files["questions.json"].append(made.files["questions.json"][1])
    with pytest.raises(DataError, match="id 'uid-a' twice"):
        made.load()


def test_egoschema_captions_cover_a_second_each_and_wordless_ones_leave_a_gap(
    tiny: Callable[[str], Any],
) -> None:
    split = tiny("egoschema").load()
    assert split.captions["uid-a"] == tuple(caption(i, "C lifts a cup") for i in range(180))
    assert split.captions["uid-b"][-1] == caption(178, "man X sits")


@pytest.mark.parametrize(
    ("narration", "plain"),
    [
        ("#C C washes the tin with the sponge", "C washes the tin with the sponge"),
        ("#c c looks around", "C looks around"),
        ("# C C looks  around.", "C looks around."),
        ("#C c looks around", "C looks around"),
        ("#O man X plays a card ", "man X plays a card"),
        ("#O A person A talks to C", "A person A talks to C"),
        ("#X person sits", "person sits"),
        ("#C C gives #O the ball", "C gives the ball"),
        ("#C C holds #unsure", "C holds something"),
        ("#C C holds # unsure in hand", "C holds something in hand"),
        ("C cuts wood #", "C cuts wood"),
        ("cuts wood", "cuts wood"),
        ("C plays song no. #12\nloud", "C plays song no. 12 loud"),
        ("#C", ""),
        ("  ", ""),
    ],
)
def test_markers_go_and_words_stay(narration: str, plain: str) -> None:
    assert readable(narration) == plain
    assert readable(plain) == plain


@pytest.mark.parametrize("wrong", [["#C C sits"] * 179, ["#C C sits"] * 181, "text", {"0": "a"}])
def test_egoschema_captions_must_be_one_a_second(tiny: Callable[[str], Any], wrong: Any) -> None:
    made = tiny("egoschema")
    made.files[LAVILA]["uid-b"] = wrong
    with pytest.raises(DataError, match=r"uid-b.*expected 180, one a second"):
        made.load()


@pytest.mark.parametrize("wrong", [None, 5, "x" * 20_001])
def test_an_egoschema_caption_must_be_a_text(tiny: Callable[[str], Any], wrong: Any) -> None:
    made = tiny("egoschema")
    made.files[LAVILA]["uid-b"][7] = wrong
    with pytest.raises(DataError, match="uid-b, caption 7: expected a text"):
        made.load()


@pytest.mark.parametrize(("name", "video_id"), [("egoschema", "uid-b"), ("nextqa", "22")])
def test_questions_without_captions_are_reported_and_stay(
    tiny: Callable[[str], Any], name: str, video_id: str
) -> None:
    made = tiny(name)
    file = LAVILA if name == "egoschema" else CAPS
    made.files[file].pop("uid-b" if name == "egoschema" else "caps/22_cap.json")
    with pytest.raises(PartialData, match=rf"no captions of 1 videos .*{video_id}"):
        made.load()
    split = made.load(allow_partial=True)
    assert split.is_partial
    assert split.without_captions == (video_id,)
    assert video_id not in split.captions
    assert video_id in {question.video_id for question in split.choices}


@pytest.mark.parametrize("name", ["egoschema", "nextqa"])
def test_captions_of_more_videos_than_official_are_refused(
    tiny: Callable[[str], Any], name: str
) -> None:
    made = tiny(name)
    file = made.files[LAVILA if name == "egoschema" else CAPS]
    file.update({"other": ["#C C sits"] * 180} if name == "egoschema" else {"9_cap.json": {}})
    with pytest.raises(DataError, match="3 videos; the official file has 2"):
        made.load(allow_partial=True)


def test_captions_of_videos_that_nobody_asks_about_are_left_out(tiny: Callable[[str], Any]) -> None:
    made = tiny("egoschema")
    made.files["subset_anno.json"].pop("uid-b")
    split = made.load(allow_partial=True)
    assert set(split.captions) == {"uid-a"}


@pytest.mark.parametrize("name", ["egoschema", "nextqa"])
def test_without_captions_their_file_is_not_needed(tiny: Callable[[str], Any], name: str) -> None:
    made = tiny(name)
    made.files.pop(LAVILA if name == "egoschema" else CAPS)
    split = made.load(with_captions=False)
    assert split.captions == {}
    assert split.without_captions == ()
    assert not split.is_partial


def test_nextqa_ids_are_those_of_the_official_predictions(tiny: Callable[[str], Any]) -> None:
    split = tiny("nextqa").load()
    assert [question.id for question in split.choices] == ["11_0", "22_0", "11_7"]
    assert [question.kind for question in split.choices] == ["CW", "TP", "DO"]
    assert [question.answer for question in split.choices] == [4, 0, 2]
    assert split.video_ids == ("11", "22")


def test_nextqa_captions_are_in_the_order_of_numbers(tiny: Callable[[str], Any]) -> None:
    split = tiny("nextqa").load()
    assert split.captions["11"] == (caption(0, "early"), caption(2, "middle"), caption(10, "late"))
    assert split.durations_s == {"11": 11.0, "22": 1.0}


def test_nextqa_test_has_no_captions(tiny: Callable[[str], Any]) -> None:
    made = tiny("nextqa")
    made.files["test.csv"] = made.files["val.csv"]
    split = made.load(split="test", allow_partial=True)
    assert split.name == "nextqa test (partial, 3 of 8564)"
    assert split.captions == {}
    assert split.without_captions == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"00": "a"}', "key '00'; expected a second"),
        ('{"-1": "a"}', "key '-1'"),
        ('{"86400": "a"}', "key '86400'"),
        ('{"0": 3}', "caption 0: expected a text"),
        ('{"0": "a", "0": "b"}', "key '0' twice"),
        ('{"0": " "}', "no caption with words"),
        ('["a"]', "a list; expected an object"),
        ("{}", "nothing in it"),
        ('{"0": NaN}', "NaN"),
        ('{"0": ' + "9" * 5000 + "}", "too long"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_a_malformed_caption_file_is_one_error(content: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_captions(content, where="zip, 7_cap.json")
    assert said in str(caught.value)
    assert str(caught.value).startswith("zip, 7_cap.json")


def test_a_zip_member_that_expands_without_end_is_cut_off(
    tiny: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nextqa, "MAX_MEMBER_BYTES", 1000)
    made = tiny("nextqa")
    made.files[CAPS]["caps/22_cap.json"] = {"0": "a" * 1000}
    with pytest.raises(DataError, match=r"22_cap\.json: over 1000 bytes"):
        made.load()


def test_a_zip_of_too_many_members_is_refused(
    tiny: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nextqa, "MAX_MEMBERS", 2)
    with pytest.raises(DataError, match="3 members; at most 2"):
        tiny("nextqa").load()


def test_a_zip_with_two_files_of_one_video_is_refused(tiny: Callable[[str], Any]) -> None:
    made = tiny("nextqa")
    made.files[CAPS]["other/11_cap.json"] = {"0": "again"}
    with pytest.raises(DataError, match="captions of '11' twice"):
        made.load()


def test_a_zip_without_captions_is_refused(tiny: Callable[[str], Any]) -> None:
    made = tiny("nextqa")
    made.files[CAPS] = {"readme.txt": "hello"}
    with pytest.raises(DataError, match=r"no member ID_cap\.json"):
        made.load()


def test_an_encrypted_member_is_refused(tiny: Callable[[str], Any]) -> None:
    made = tiny("nextqa")
    made.write()
    content = bytearray((made.folder / CAPS).read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"22_cap.json"))
    content[at + 8] |= 1
    made.files[CAPS] = bytes(content)
    with pytest.raises(DataError, match=r"22_cap\.json: encrypted"):
        made.load()


def test_a_damaged_member_is_refused(tiny: Callable[[str], Any]) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("11_cap.json", json.dumps({"0": "early"}))
        archive.writestr("22_cap.json", json.dumps({"0": "only"}))
    made = tiny("nextqa")
    made.files[CAPS] = out.getvalue().replace(b"only", b"olny", 1)
    with pytest.raises(DataError, match="not a sound zip"):
        made.load()

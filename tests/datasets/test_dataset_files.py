"""Reading of untrusted files: sizes, encodings, JSON and CSV faults, the fields of a record."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from fdvs.datasets import files
from fdvs.datasets.files import (
    Record,
    check_id,
    csv_records,
    json_list,
    json_object,
    parse_json,
    plain_text,
    read_bytes,
    read_json,
    read_text,
)
from fdvs.errors import DataError


def test_a_file_over_the_limit_is_refused_and_one_at_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"12345")
    assert read_bytes(path, max_bytes=5) == b"12345"
    with pytest.raises(DataError, match="over 4 bytes"):
        read_bytes(path, max_bytes=4)


def test_a_folder_a_pipe_and_nothing_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("", "pipe", "absent"):
        with pytest.raises(DataError):
            read_bytes(tmp_path / name)


def test_text_that_is_not_utf8_is_named_with_its_byte(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("é,b".encode("latin-1"))
    with pytest.raises(DataError, match="byte 0 is not UTF-8"):
        read_text(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1,\n "b" 2}', "line 2: not JSON"),
        ('{"a": {"x": 1, "x": 2}}', "key 'x' twice"),
        ("[Infinity]", "Infinity is no number"),
        ("[-Infinity]", "-Infinity"),
    ],
)
def test_faults_of_json_are_told(text: str, said: str) -> None:
    with pytest.raises(DataError) as caught:
        parse_json(text, where="file")
    assert said in str(caught.value)


def test_a_value_of_another_kind_is_named() -> None:
    with pytest.raises(DataError, match="x: an object; expected a list"):
        json_list({"a": 1}, where="x")
    with pytest.raises(DataError, match="x: str; expected an object"):
        json_object("a", where="x")
    with pytest.raises(DataError, match="x: nothing in it; expected a list"):
        json_list([], where="x")


def test_good_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2.5, null, "é"]}', "utf-8")
    assert read_json(path) == {"a": [1, 2.5, None, "é"]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no column a, b; expected a, b, found nothing"),
        ("a\n1\n", "no column b"),
        ("a,b,a\n1,2,3\n", "column a twice"),
        ("a,b\n1,2\n3\n", "line 3: 1 cells; the header has 2"),
        ("a,b\n1,2,3\n", "line 2: 3 cells"),
        ('a,b\n"1,2\n', "not CSV"),
        ('a,b\n1,"2"x\n', "not CSV"),
        ("a,b\n", "no row below the header"),
        ("a,b\n" + "x" * 200_000 + ",1\n", "not CSV (field larger"),
    ],
)
def test_faults_of_csv_are_told(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(DataError) as caught:
        list(csv_records(path, ("a", "b")))
    assert said in str(caught.value)


def test_columns_may_come_in_any_order_with_others_between(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('b ,z,a\r\n"two, 2",x,1\r\n')
    (record,) = csv_records(path, ("a", "b"))
    assert (record.text("b"), record.integer("a", low=0, high=9)) == ("two, 2", 1)


def test_rows_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_ROWS", 2)
    path = tmp_path / "a.csv"
    path.write_text("a\n1\n2\n3\n")
    with pytest.raises(DataError, match="line 4: over 2 rows"):
        list(csv_records(path, ("a",)))


def test_text_becomes_one_plain_line() -> None:
    assert plain_text("  a\tb\r\n\u202ec\u200b d\x00e\u2028 ") == "a b c d e"
    assert plain_text("naïve 日本 😀") == "naïve 日本 😀"


@pytest.mark.parametrize(
    "name", ["video7010", "-4wsuPCjDBc_5_15", "v_x", "1@N0_2.mov", "3MSZA", "y."]
)
def test_ids_of_the_datasets_are_taken(name: str) -> None:
    assert check_id(f" {name} ", where="x") == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/b", "a\\b", "a b", "a\nb", "\x1b[0m", "a" * 161, None, 5]
)
def test_what_could_be_a_path_is_no_id(name: Any) -> None:
    with pytest.raises(DataError, match="expected an id") as caught:
        check_id(name, where="file: id")
    assert "\x1b" not in str(caught.value)


def test_a_shown_value_is_short_and_on_one_line() -> None:
    record = Record({"a": "x\n" * 50_000}, where="here")
    with pytest.raises(DataError) as caught:
        record.text("a")
    assert len(str(caught.value)) < 150
    assert "\n" not in str(caught.value)


def test_a_record_must_be_an_object() -> None:
    with pytest.raises(DataError, match="here: list; expected an object"):
        Record([1], where="here")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1", None, 10**400])
def test_a_json_number_must_be_a_number_in_range(value: Any) -> None:
    with pytest.raises(DataError, match="a number from 0 to 9"):
        Record({"a": value}, where="here").number("a", low=0, high=9)


def test_numbers_of_csv_cells_are_parsed() -> None:
    record = Record({"a": " 2.50 ", "b": "-3"}, where="here", is_text=True)
    assert record.number("a", low=0, high=9) == 2.5
    assert record.integer("b", low=-9, high=0) == -3

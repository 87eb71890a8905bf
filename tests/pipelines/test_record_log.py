"""The log of records: JSON lines that survive a kill, never mixed with other settings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as example_settings
from hypothesis import strategies as st

from fdvs.errors import ConfigError, CorruptLibrary, LibraryBusy
from fdvs.pipelines import record_log
from fdvs.pipelines.record_log import open_records, read_records

SETTINGS = {"embedder": "m", "k": 5, "shares": [0.5, 1.0]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "row.jsonl"


def write(path: Path, *ids: str) -> None:
    with open_records(path, settings=SETTINGS) as log:
        for item_id in ids:
            log.add({"id": item_id, "chosen": 1})


def test_what_one_run_wrote_the_next_one_knows(path: Path) -> None:
    write(path, "a", "b")
    with open_records(path, settings=SETTINGS) as log:
        assert (list(log.done), log.num_resumed) == (["a", "b"], 2)
        assert "a" in log
        assert "c" not in log
        log.add({"id": "c", "scores": (0.25, 1.0), "text": "two\nlines \u2028 \ud800"})
        assert (log.num_resumed, len(log.done)) == (2, 3)
    settings, done = read_records(path)
    assert settings == SETTINGS
    assert done["a"] == {"id": "a", "chosen": 1}
    assert done["c"] == {"id": "c", "scores": [0.25, 1.0], "text": "two\nlines \u2028 \ud800"}


def test_done_is_what_later_runs_read_even_if_the_callers_object_changes(path: Path) -> None:
    record = {"id": "a", "scores": [1]}
    with open_records(path, settings=SETTINGS) as log:
        log.add(record)
        record["scores"] = [2]
        assert log.done["a"] == {"id": "a", "scores": [1]}


@pytest.mark.parametrize("kept", ["half a line", "all but the line's end"])
def test_an_unfinished_last_line_is_dropped_and_written_again(path: Path, kept: str) -> None:
    write(path, "a", "b")
    whole = path.read_bytes()
    path.write_bytes(whole[: -len(b'"id":"b"}\n') if kept == "half a line" else -1])
    with open_records(path, settings=SETTINGS) as log:
        assert list(log.done) == ["a"]
        log.add({"id": "b", "chosen": 1})
    assert path.read_bytes() == whole


@given(cut=st.integers(0, 400))
@example_settings(max_examples=40, deadline=None)
def test_a_file_cut_anywhere_loses_only_its_last_line(
    cut: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("cut") / "row.jsonl"
    write(path, "a", "b", "c")
    whole = path.read_bytes()
    path.write_bytes(whole[:cut])
    num_whole_lines = whole[:cut].count(b"\n")
    with open_records(path, settings=SETTINGS) as log:
        assert list(log.done) == ["a", "b", "c"][: max(0, num_whole_lines - 1)]
        for item_id in "abc":
            if item_id not in log:
                log.add({"id": item_id, "chosen": 1})
    assert path.read_bytes() == whole


KILLED = """
import sys
from pathlib import Path
from fdvs.pipelines.record_log import open_records
with open_records(Path(sys.argv[1]), settings={"k": 1}) as log:
    for i in range(10 ** 9):
        log.add({"id": str(i), "text": "x" * 5000})
        print(i, flush=True)
"""


def test_a_killed_run_keeps_what_it_had_said_was_written(tmp_path: Path) -> None:
    path = tmp_path / "row.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(50):
        last = int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with open_records(path, settings={"k": 1}) as log:
        assert set(map(str, range(last + 1))) <= set(log.done)
        assert list(log.done) == [str(i) for i in range(len(log.done))]
        log.add({"id": "after"})


def test_other_settings_are_refused_with_what_differs(path: Path) -> None:
    write(path, "a")
    before = path.read_bytes()
    with pytest.raises(ConfigError, match=r'embedder was "m", is "n"; new was none, is 1') as told:
        open_records(path, settings={**SETTINGS, "embedder": "n", "new": 1})
    assert "start over" in str(told.value)
    assert path.read_bytes() == before


def test_many_differences_are_told_shortly(path: Path) -> None:
    write(path, "a")
    with pytest.raises(ConfigError, match="and 4 more"):
        open_records(path, settings={f"s{i}": "x" * 1000 for i in range(6)})


def test_the_order_of_settings_and_tuples_make_no_difference(path: Path) -> None:
    write(path, "a")
    same = {"shares": (0.5, 1.0), "k": 5, "embedder": "m"}
    with open_records(path, settings=same) as log:
        assert list(log.done) == ["a"]


def test_starting_over_keeps_the_former_file_beside_it(path: Path) -> None:
    write(path, "a")
    before = path.read_bytes()
    with open_records(path, settings={"k": 6}, on_change="start over") as log:
        assert (log.done, log.num_resumed) == ({}, 0)
        log.add({"id": "a"})
    assert path.with_name("row.jsonl.old").read_bytes() == before
    assert read_records(path)[0] == {"k": 6}


def test_starting_over_with_the_same_settings_resumes(path: Path) -> None:
    write(path, "a")
    with open_records(path, settings=SETTINGS, on_change="start over") as log:
        assert list(log.done) == ["a"]
    assert not path.with_name("row.jsonl.old").exists()


def test_two_writers_at_the_same_time_are_refused(path: Path) -> None:
    with (
        open_records(path, settings=SETTINGS),
        pytest.raises(LibraryBusy, match="another process"),
    ):
        open_records(path, settings=SETTINGS)
    write(path, "a")


def test_a_refused_opening_leaves_no_lock(path: Path) -> None:
    write(path, "a")
    with pytest.raises(ConfigError):
        open_records(path, settings={})
    write(path, "b")


@pytest.mark.parametrize("record", [{}, {"id": 7}, {"id": "a"}, {"id": "n", "score": float("nan")}])
def test_a_record_that_cannot_be_found_again_is_refused(
    path: Path, record: dict[str, object]
) -> None:
    write(path, "a")
    before = path.read_bytes()
    with open_records(path, settings=SETTINGS) as log, pytest.raises(ValueError):  # noqa: PT011
        log.add(record)
    assert path.read_bytes() == before


def test_records_have_a_bounded_size(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_log, "MAX_LINE_BYTES", 300)
    with (
        open_records(path, settings=SETTINGS) as log,
        pytest.raises(ValueError, match="at most 300"),
    ):
        log.add({"id": "a", "text": "x" * 400})
    with path.open("a") as file:
        file.write("x" * 400 + "\n")
    with pytest.raises(CorruptLibrary, match="line 2: longer than 300"):
        open_records(path, settings=SETTINGS)


HEADER = json.dumps({"fdvs_predictions": 1, "fingerprint": "0", "settings": {}})


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["{}"], "line 1: no header"),
        (['{"fdvs_predictions": 2, "settings": {}}'], "line 1: no header of version"),
        ([HEADER], "were changed after"),
        (["[1]"], "line 1: not a JSON object"),
        ([None, "no json", '{"id": "a"}'], "line 2: not JSON"),
        ([None, '{"id": "a", "score": NaN}'], "line 2: not JSON"),
        ([None, "[" * 100_000], "line 2: not JSON"),
        ([None, '{"chosen": 1}'], "line 2: id None"),
        ([None, '{"id": "a"}', '{"id": "a"}'], "line 3: id 'a' is not a text, or appears twice"),
    ],
)
def test_a_file_that_is_not_ours_or_damaged_is_named_and_left_alone(
    path: Path, lines: list[str | None], why: str
) -> None:
    write(path)
    header = path.read_text().strip()
    path.write_text("".join((line or header) + "\n" for line in lines))
    before = path.read_bytes()
    for call in (lambda: open_records(path, settings=SETTINGS), lambda: read_records(path)):
        with pytest.raises(CorruptLibrary, match=why):
            call()
    assert path.read_bytes() == before


def test_reading_alone_changes_nothing(path: Path) -> None:
    write(path, "a")
    torn = path.read_bytes() + b'{"id": "b"'
    path.write_bytes(torn)
    assert list(read_records(path)[1]) == ["a"]
    assert path.read_bytes() == torn


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    (tmp_path / "row").write_bytes(b"")
    with pytest.raises(CorruptLibrary, match="empty"):
        read_records(tmp_path / "row")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot write .*name another file"):
        open_records(tmp_path, settings={})


def test_ten_thousand_short_records_take_about_a_second(tmp_path: Path) -> None:
    start_s = time.monotonic()
    with open_records(tmp_path / "row", settings={}) as log:
        for i in range(10_000):
            log.add({"id": str(i), "chosen": i % 5})
    assert time.monotonic() - start_s < 10

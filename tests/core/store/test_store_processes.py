"""Several processes on one library: killed, waiting, reading along, and out of disk."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from fdvs.errors import LibraryBusy
from fdvs.store import schema
from fdvs.store.lock import read_builder
from fdvs.store.store import Store

ADD = """
import sys, time
from pathlib import Path
import numpy as np
from fdvs.store import schema
from fdvs.store.store import Store
folder, sha256 = Path(sys.argv[1]), "ab" * 32
store = Store.open(folder, create=True)
video = store.add_video(video_id=sha256[:16], sha256=sha256, path=Path("/film.mp4")).video_id
def put(item, num_floats=64):
    rows = np.full((1, num_floats), item, np.float32)
    payload = {"item": item}
    store.put(video, "chapter", item, fingerprint=str(item), payload=payload, vectors=rows)
"""
VIDEO = ("ab" * 32)[:16]


def start(code: str, folder: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", ADD + code, str(folder), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def line_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        pytest.fail(process.communicate()[1])
    return line.strip()


WRITE_FOREVER = """
item = 0
while True:
    put(item)
    print(item, flush=True)
    item += 1
"""


@pytest.mark.parametrize("num_lines", [1, 40, 150])
def test_a_killed_writer_loses_nothing_that_it_called_committed(
    tmp_path: Path, num_lines: int
) -> None:
    process = start(WRITE_FOREVER, tmp_path)
    for _ in range(num_lines):
        line_of(process)
    process.send_signal(signal.SIGKILL)
    assert process.stdout is not None
    rest = process.stdout.read().splitlines()  # `communicate` would lose what is read ahead
    process.communicate()
    last = int(rest[-1]) if rest else num_lines - 1
    with Store.open(tmp_path) as store:
        found = store.get_all(VIDEO, "chapter")
        assert list(found) == list(range(len(found)))
        assert last + 1 <= len(found) <= last + 2  # the one in flight may have made it
        for item, artifact in found.items():
            assert artifact.payload == {"item": item}
            assert artifact.vectors is not None
            assert (artifact.vectors == item).all()
        with store.reading() as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


HOLD_LOCK = """
with store.build_lock():
    print("locked", flush=True)
    sys.stdin.readline()
print("released", flush=True)
"""


def test_a_second_build_says_who_builds_and_does_not_wait_if_told_so(tmp_path: Path) -> None:
    process = start(HOLD_LOCK, tmp_path)
    assert line_of(process) == "locked"
    with (
        Store.open(tmp_path) as store,
        pytest.raises(LibraryBusy, match=f"process {process.pid} on"),
        store.build_lock(wait=False),
    ):
        pass
    process.communicate("go on\n")


def test_a_second_build_that_waits_says_so_once_and_gets_its_turn(tmp_path: Path) -> None:
    process = start(HOLD_LOCK, tmp_path)
    assert line_of(process) == "locked"
    said: list[str] = []

    def on_wait(message: str) -> None:
        said.append(message)
        assert process.stdin is not None
        process.stdin.write("go on\n")
        process.stdin.flush()

    with Store.open(tmp_path) as store, store.build_lock(on_wait=on_wait):
        assert read_builder(tmp_path) == f"process {os.getpid()} on {os.uname().nodename!r}"
    assert len(said) == 1
    assert f"process {process.pid}" in said[0]
    process.communicate()


def test_a_dead_process_s_lock_blocks_nobody(tmp_path: Path) -> None:
    process = start(HOLD_LOCK, tmp_path)
    assert line_of(process) == "locked"
    process.kill()
    process.communicate()
    assert (tmp_path / "build.lock").exists()
    with Store.open(tmp_path) as store, store.build_lock(wait=False):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    def fail(store: Store) -> None:
        with store.build_lock(wait=False):
            raise KeyboardInterrupt

    with Store.open(tmp_path, create=True) as store:
        with pytest.raises(KeyboardInterrupt):
            fail(store)
        with store.build_lock(wait=False):
            pass


@pytest.mark.parametrize("note", [None, "", "nonsense", "[1]", '{"pid": "x", "host": 1}'])
def test_a_missing_or_wrong_note_of_the_builder_is_no_error(
    tmp_path: Path, note: str | None
) -> None:
    if note is not None:
        (tmp_path / "builder.json").write_text(note)
    assert read_builder(tmp_path) == "another process"


def test_a_reader_sees_one_state_while_another_process_writes(tmp_path: Path) -> None:
    process = start(WRITE_FOREVER, tmp_path)
    for _ in range(5):
        line_of(process)
    with Store.open(tmp_path) as store:
        with store.reading():
            before = len(store.get_all(VIDEO, "chapter"))
            while int(line_of(process)) < before + 10:
                pass
            assert len(store.get_all(VIDEO, "chapter")) == before
        assert len(store.get_all(VIDEO, "chapter")) >= before + 10
    process.kill()
    process.communicate()


FILL_UP = """
import json, resource
from fdvs.errors import StoreError
for item in range(20):
    put(item)
resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
try:
    while True:
        item += 1
        put(item, num_floats=5000)
except StoreError as error:
    print(json.dumps({"failed_at": item, "message": str(error)}), flush=True)
try:
    store.put_thumbnail(video, 0, b"x" * 500_000)
except StoreError as error:
    print(json.dumps({"message": str(error)}), flush=True)
print(len(store.get_all(video, "chapter")), flush=True)
"""


def test_a_full_disk_is_one_line_and_nothing_stored_is_lost(tmp_path: Path) -> None:
    process = start(FILL_UP, tmp_path)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    full, thumbnail, num_readable = (json.loads(line) for line in out.splitlines())
    for message in (full["message"], thumbnail["message"]):
        assert str(tmp_path) in message
        assert "disk full" in message
        assert "\n" not in message
    assert 20 < full["failed_at"] < 60
    assert num_readable == full["failed_at"]
    assert list((tmp_path / "thumbnails" / VIDEO).iterdir()) == []
    with Store.open(tmp_path) as store:
        assert list(store.get_all(VIDEO, "chapter")) == list(range(full["failed_at"]))
        store.put(VIDEO, "chapter", 99, fingerprint="f", payload={})


def test_creating_a_library_at_once_in_two_processes_works_for_both(tmp_path: Path) -> None:
    code = "put(int(sys.argv[2])); print('done', flush=True)"
    both = [start(code, tmp_path / "new", str(item)) for item in range(3)]
    for process in both:
        out, error = process.communicate(timeout=30)
        assert out == "done\n", error
    with Store.open(tmp_path / "new") as store:
        assert list(store.get_all(VIDEO, "chapter")) == [0, 1, 2]


def test_a_library_that_appears_while_it_is_looked_at_is_no_file_of_another_program(
    tmp_path: Path,
) -> None:
    """The tables are created between two looks at the file, as another process may do."""
    Path(tmp_path / "library.sqlite").touch()
    other = schema.open_database(tmp_path / "library.sqlite", "rw")
    other.execute("PRAGMA busy_timeout = 0")
    looked = schema.open_database(tmp_path / "library.sqlite", "rw")

    class Between:
        """The looking connection; the other one writes after the first look."""

        in_transaction = property(lambda self: looked.in_transaction)

        def execute(self, statement: str) -> object:
            found = looked.execute(statement)
            if statement == "PRAGMA application_id":
                with contextlib.suppress(sqlite3.OperationalError):  # locked out, as it should be
                    other.executescript(schema.SCHEMA)
            return found

    assert schema._check_ours(Between(), tmp_path, create=True) in (True, False)  # type: ignore[arg-type]
    looked.close()
    other.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere; see the next test")
def test_a_folder_without_write_permission_can_be_read(tmp_path: Path) -> None:
    _check_read_only(tmp_path / "library", as_user=None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_can_read_but_not_write() -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own folders are closed to others
        Path(folder).chmod(0o755)
        _check_read_only(Path(folder) / "library", as_user=65534)


READ_ONLY = """
import os, sys
from pathlib import Path
from fdvs.errors import StoreError
from fdvs.store import schema
from fdvs.store.store import Store
if sys.argv[2] != "None":
    os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
store = Store.open(Path(sys.argv[1]))
print(store.is_read_only, len(store.get_all(sys.argv[3], "chapter")))
def build():
    with store.build_lock(wait=False):
        pass
for write in (lambda: store.put(sys.argv[3], "s", fingerprint="f", payload={}), build):
    try:
        write()
    except StoreError as error:
        print(error)
"""


def _check_read_only(folder: Path, *, as_user: int | None) -> None:
    process = start("put(0)", folder)
    assert process.wait(30) == 0
    process.communicate()
    folder.chmod(0o555)
    try:
        found = subprocess.run(
            [sys.executable, "-c", READ_ONLY, str(folder), str(as_user), VIDEO],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    finally:
        folder.chmod(0o755)
    lines = found.stdout.splitlines()
    assert lines[:1] == ["True 1"], found.stderr
    assert len(lines) == 3
    assert all(str(folder) in line and "permission" in line for line in lines[1:])


def test_closing_while_nobody_else_reads_leaves_one_file(tmp_path: Path) -> None:
    with Store.open(tmp_path, create=True) as store:
        store.close()
    assert [p.name for p in tmp_path.iterdir()] == ["library.sqlite"]


def test_a_write_lock_that_is_held_too_long_is_a_busy_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.store.schema.BUSY_TIMEOUT_S", 0.05)
    started = time.monotonic()
    with Store.open(tmp_path, create=True) as one, Store.open(tmp_path) as two:
        with one.writing(), pytest.raises(LibraryBusy, match="locked by another"), two.writing():
            pass
        with two.writing():
            pass
    assert time.monotonic() - started < 10

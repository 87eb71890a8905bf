"""The decord reader: the worker against a stand-in, the whole against decord where installed."""

from __future__ import annotations

import io
import json
import sys
import types

import numpy as np
import pytest

from fdvs.errors import ModelUnavailable, UndecodableVideo
from fdvs.media import decord_reader, decord_worker
from fdvs.media.readers import open_reader


class StandIn:
    """Has decord's interface: ten pictures, 0.1 s apart, from 3 s on."""

    def __init__(self, path: str, num_threads: int) -> None:
        self.path = path

    def __len__(self) -> int:
        return 10

    def get_frame_timestamp(self, indices):
        return np.stack([3 + indices / 10, 3.1 + indices / 10], axis=1)

    def __getitem__(self, index: int):
        image = np.full((4, 6, 3), index, dtype=np.uint8)
        return types.SimpleNamespace(asnumpy=lambda: image)


def serve(monkeypatch, **request):
    module = types.ModuleType("decord")
    module.VideoReader = StandIn
    monkeypatch.setitem(sys.modules, "decord", module)
    output = io.BytesIO()
    decord_worker.serve({"path": b"/x".hex(), "num_threads": 1, **request}, output)
    output.seek(0)
    found = []
    while line := output.readline():
        head = json.loads(line)
        data = output.read(int(np.prod(head["shape"])))
        found.append((round(head["time_s"], 6), data[0]))
    return found


def test_the_worker_gives_the_last_picture_at_or_before_each_time(monkeypatch):
    found = serve(monkeypatch, times_s=[0.0, 0.19, 0.2, 5.0])
    assert found == [(0.0, 0), (0.1, 1), (0.2, 2), (0.9, 9)]


def test_the_worker_gives_pictures_apart(monkeypatch):
    assert serve(monkeypatch, every_s=0.35) == [(0.0, 0), (0.4, 4), (0.8, 8)]
    assert len(serve(monkeypatch, every_s=0.0)) == 10


def test_a_reader_that_is_not_installed_names_its_extra(film, monkeypatch):
    monkeypatch.setattr(decord_reader, "is_installed", lambda: False)
    with pytest.raises(ModelUnavailable, match=r"\.\[decord\]"):
        open_reader(film("bframes_mp4").path, reader="decord")


@pytest.fixture
def child(monkeypatch):
    """Let the child run this program in place of the worker; decord counts as installed."""
    monkeypatch.setattr(decord_reader, "is_installed", lambda: True)
    real = decord_reader.subprocess.Popen

    def run(program: str) -> None:
        def popen(command, **options):
            return real([command[0], "-c", program], **options)

        monkeypatch.setattr(decord_reader.subprocess, "Popen", popen)

    return run


def test_files_without_time_stamps_are_refused(film, child):
    with pytest.raises(UndecodableVideo, match="needs time stamps"):
        open_reader(film("avi_bframes").path, reader="decord")


def test_a_child_that_hangs_is_killed(film, child):
    child("import time; time.sleep(60)")
    with (
        open_reader(film("bframes_mp4").path, reader="decord", timeout_s=0.5) as reader,
        pytest.raises(UndecodableVideo, match=r"nothing for 0\.5 s"),
    ):
        list(reader.frames_at([1.0], short_side_px=None))


def test_a_child_that_fails_gives_its_last_line(film, child):
    child("import sys; sys.stderr.write('noise\\nDECORDError: bad\\n'); sys.exit(1)")
    with (
        open_reader(film("bframes_mp4").path, reader="decord") as reader,
        pytest.raises(UndecodableVideo, match="DECORDError: bad"),
    ):
        list(reader.iter_frames(every_s=1, short_side_px=None))


def test_a_child_that_stops_within_a_picture_is_an_error(film, child):
    child("print('{\"time_s\": 0, \"shape\": [4, 4, 3]}'); print('abc')")
    with (
        open_reader(film("bframes_mp4").path, reader="decord") as reader,
        pytest.raises(UndecodableVideo, match="within a picture"),
    ):
        list(reader.frames_at([1.0], short_side_px=None))


def test_wrong_requests_are_refused(film, child):
    with open_reader(film("bframes_mp4").path, reader="decord") as reader:
        with pytest.raises(ValueError, match="sorted"):
            reader.frames_at([2.0, 1.0], short_side_px=None)
        with pytest.raises(ValueError, match=r"time -1\.0 s is outside"):
            reader.frames_at([-1.0], short_side_px=None)
        with pytest.raises(ValueError, match="every_s"):
            reader.iter_frames(every_s=-1, short_side_px=None)
        kept = reader.frames_at([1.0], short_side_px=None)
        assert reader.warnings == ()
    with pytest.raises(ValueError, match="closed"):
        next(kept)


@pytest.mark.slow
def test_decord_itself_gives_the_right_pictures_of_a_plain_film(film, read_number):
    pytest.importorskip("decord")
    with open_reader(film("bframes_mp4").path, reader="decord", timeout_s=120) as reader:
        frames = list(reader.frames_at([0.0, 1.0, 2.01, 23.99], short_side_px=None))
        assert [read_number(frame.image) for frame in frames] == [0, 25, 50, 599]
        assert [f.time_s for f in frames] == pytest.approx([0, 1, 2, 23.96], abs=1e-3)


PACKAGE = """
import os
import numpy as np
os.write(1, b"a library that talks on stdout")

class Picture:
    def __init__(self, index):
        self.index = index

    def asnumpy(self):
        return np.full((48, 80, 3), self.index, np.uint8)

class VideoReader:
    def __init__(self, path, num_threads):
        if "broken" in path:
            raise RuntimeError("cannot open it")

    def __len__(self):
        return 600

    def get_frame_timestamp(self, indices):
        return np.stack([indices / 25, (indices + 1) / 25], axis=1)

    def __getitem__(self, index):
        return Picture(index % 256)
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package of decord's name that the real worker finds first."""
    (tmp_path / "decord.py").write_text(PACKAGE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(decord_reader, "is_installed", lambda: True)


def test_the_worker_runs_as_a_program_and_its_stdout_holds_pictures_only(film, installed):
    with open_reader(film("bframes_mp4").path, reader="decord") as reader:
        frames = list(reader.frames_at([0.0, 1.0, 1.01, 8.0], short_side_px=24))
        every = list(reader.iter_frames(every_s=10, short_side_px=None))
    assert [frame.time_s for frame in frames] == [0.0, 1.0, 1.0, 8.0]
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [0, 25, 25, 200]
    assert {frame.image.shape for frame in frames} == {(24, 40, 3)}
    assert [(frame.time_s, frame.image.shape) for frame in every] == [
        (0.0, (96, 160, 3)),
        (10.0, (96, 160, 3)),
        (20.0, (96, 160, 3)),
    ]


def test_what_the_library_complains_of_is_the_reason(film, installed, tmp_path):
    path = tmp_path / "broken.mp4"
    path.write_bytes(film("bframes_mp4").path.read_bytes())
    with (
        open_reader(path, reader="decord") as reader,
        pytest.raises(UndecodableVideo, match="RuntimeError: cannot open it"),
    ):
        list(reader.frames_at([1.0], short_side_px=None))

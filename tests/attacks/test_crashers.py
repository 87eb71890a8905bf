"""A folder with every kind of file that ever ended a build, beside one good film."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from .conftest import Attack, write_film

pytestmark = [pytest.mark.attack, pytest.mark.slow]

FAR_FUTURE_S = 20_000_000_000  # the year 2603, behind what 64 bits of nanoseconds hold


def joined(folder: Path, name: str, *parts: bytes) -> None:
    (folder / name).write_bytes(b"".join(parts))


def with_times(path: Path, times_ms: list[int], **how: str) -> None:
    """Write a film whose pictures are shown at these times."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        for time_ms in times_ms:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), time_ms % 255, np.uint8))
            frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


def make_files(folder: Path) -> set[str]:
    """Write the files; return the names of those that must be built."""
    plain = write_film(folder / "plain.ts", [40, 200], codec="mpeg2video").read_bytes()
    spoken = write_film(
        folder / "spoken.ts", [90, 10], codec="mpeg2video", sound="mp2"
    ).read_bytes()
    joined(folder, "sound appears.ts", plain, spoken, plain)
    joined(folder, "sound disappears.ts", spoken, plain)
    program = write_film(folder / "p.mpg", [40], codec="mpeg1video").read_bytes()
    with_sound = write_film(folder / "q.mpg", [80], codec="mpeg1video", sound="mp2").read_bytes()
    joined(folder, "sound appears.mpg", program, with_sound, program)
    flash = write_film(folder / "f.flv", [40, 90], codec="flv", sound="libmp3lame").read_bytes()
    joined(folder, "twice.flv", flash, flash[13:])
    with_times(folder / "clock bomb.mkv", [index * 3_500_000 for index in range(300)])
    with_times(folder / "clock of years.mkv", [index * 3_000_000_000 for index in range(20)])
    with_times(folder / "one gap.mkv", [*range(0, 2000, 40), *range(90_000_000, 90_002_000, 40)])
    built = {path.name for path in folder.iterdir()}
    mp4 = write_film(folder / "far future.mp4", [5, 9]).read_bytes()
    built.add("far future.mp4")
    os.utime(folder / "far future.mp4", (FAR_FUTURE_S, FAR_FUTURE_S))
    write_film(folder / "with sidecars.mp4", [70, 7])
    built.add("with sidecars.mp4")
    (folder / "with sidecars.srt").symlink_to("/proc/self/mem")
    (folder / "with sidecars.de.srt").symlink_to("with sidecars.de.srt")
    os.mkfifo(folder / "with sidecars.en.srt")
    (folder / "with sidecars.vtt").write_bytes(b"WEBVTT\n\n" + b"\xff\xfe" * 50_000)
    (folder / "half.mp4").write_bytes(mp4[: len(mp4) // 2])
    (folder / "empty.mp4").touch()
    (folder / "text.mp4").write_text("no film")
    (folder / "zeros.mp4").touch()
    os.truncate(folder / "zeros.mp4", 1 << 36)
    os.mkfifo(folder / "pipe.mp4")
    (folder / "device.mp4").symlink_to("/dev/zero")
    (folder / "loop.mp4").symlink_to("loop.mp4")
    (folder / "gone.mp4").symlink_to("nowhere.mp4")
    (folder / "folder.mp4").mkdir()
    built.add("huge.mp4")  # the header lies about the size of pictures, which say their own
    (folder / "huge.mp4").write_bytes(mp4.replace(struct.pack(">HH", 64, 48), b"\xff\xff\xff\xff"))
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9 \x1b[31m.mp4")).write_bytes(mp4[:900])
    return built


def test_all_files_that_ever_ended_a_build_beside_a_good_one(
    attack: Attack, tmp_path: Path, start_build: Callable[..., subprocess.Popen[str]]
) -> None:
    folder = tmp_path / "films"
    folder.mkdir()
    built = make_files(folder)
    write_film(folder / "zz good.mp4", [60, 180, 20])
    build = start_build(tmp_path / "library", folder)
    out, errors = build.communicate(timeout=180)
    assert build.returncode == 0, errors[-2000:]
    rows = {row[0]: row for row in map(json.loads, out.splitlines())}
    assert rows["zz good.mp4"][1] == "built"
    for path in folder.iterdir():
        if path.is_dir() or path.suffix in (".srt", ".vtt"):
            continue
        row = rows.get(path.name)
        wanted = "built" if path.name in built or path.name == "zz good.mp4" else "failed"
        is_right = row is not None and row[1] == wanted and (wanted == "built" or row[2])
        is_bug = row is not None and "bug:" in " ".join([row[2], *row[3]])
        attack.count("" if is_right and not is_bug else f"{path.name}: {row}, wanted: {wanted}")

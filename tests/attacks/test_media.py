"""Damaged media of many containers and codecs: each is a row, none stops or crashes a build."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Attack, write_film

pytestmark = [pytest.mark.attack, pytest.mark.slow]

# Suffix, codec of the pictures, codec of the sound.
SEEDS = """
mp4 libx264 aac | mp4 libx265 aac | mov prores pcm_s16le | mov qtrle alac | mov mjpeg pcm_s16be
mkv libx264 flac | mkv ffv1 pcm_s16le | mkv libx265 ac3 | mkv mpeg4 libmp3lame | avi huffyuv -
webm libvpx libopus | webm libvpx-vp9 libopus | avi mpeg4 libmp3lame | avi cinepak -
avi mjpeg adpcm_ima_wav | ts libx264 aac | ts mpeg2video mp2 | mpg mpeg1video mp2
flv flv libmp3lame | flv libx264 aac
wmv wmv2 wmav2 | wmv msmpeg4v3 wmav2 | m4v mpeg4 aac | mp4 libsvtav1 libopus
"""
BATCH = 40
MAX_BUILD_S = 180.0
EXTREMES = (b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x80\0\0\0", b"\0\0\0\1")


@pytest.fixture(scope="module")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, bytes]]:
    """Return (suffix, bytes) of sound films, one for each container and codec."""
    folder = tmp_path_factory.mktemp("seeds")
    found = []
    for number, text in enumerate(SEEDS.replace("\n", "|").split("|")):
        if not text.strip():
            continue
        suffix, codec, sound = text.split()
        path = folder / f"{number}.{suffix}"
        write_film(path, [40, 120, 200], codec=codec, sound=sound.strip("-"))
        found.append((suffix, path.read_bytes()))
    return found


def damaged(data: bytearray, other: bytes, rng: random.Random) -> bytearray:
    """Return the bytes with one to eight changes, half of them near the start (headers)."""
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        end = min(len(data), 2048) if rng.random() < 0.5 else len(data)
        at, num = rng.randrange(max(1, end)), rng.choice((1, 4, 60, 1000))
        match rng.randrange(8):
            case 0:
                data[at : at + num] = rng.randbytes(num)
            case 1:
                data[at : at + 4] = rng.choice(EXTREMES)
            case 2:
                del data[at : at + num]
            case 3:
                data[at:at] = data[at : at + num]
            case 4:
                data[at:at] = rng.randbytes(num)
            case 5:
                del data[max(64, at) :]
            case 6:
                start = rng.randrange(len(other))
                data[at : at + num] = other[start : start + num]
            case _:
                data[at : at + num] = bytes(len(data[at : at + num]))
    return data or bytearray(b"\0")


def wrong_rows(build: subprocess.Popen[str], names: set[str]) -> list[str]:
    """Wait for a build and return what is wrong with it: a crash, a hang, a lost row, a bug."""
    try:
        out, err = build.communicate(timeout=MAX_BUILD_S)
    except subprocess.TimeoutExpired:
        build.kill()
        return [f"no end within {MAX_BUILD_S:g} s: {build.communicate()[0][-300:]}"]
    if build.returncode != 0:
        return [f"ended with {build.returncode}: {err[-1500:]}"]
    rows = {row[0]: row for row in map(json.loads, out.splitlines())}
    wrong = [f"no row for {name}" for name in names - rows.keys()]
    for name, status, reason, warnings in rows.values():
        text = " ".join([reason, *warnings])
        if status not in ("built", "unchanged", "failed") or "bug:" in text or "\n" in text:
            wrong.append(f"{name}: {status}: {text}")
        elif status == "failed" and not reason:
            wrong.append(f"{name} failed without a reason")
    return wrong


def test_damaged_media(
    attack: Attack,
    seeds: list[tuple[str, bytes]],
    tmp_path: Path,
    start_build: Callable[..., subprocess.Popen[str]],
) -> None:
    rng = random.Random(11)
    num_left = attack.trials(120)
    for batch in range((num_left + BATCH - 1) // BATCH):
        folder = tmp_path / str(batch)
        folder.mkdir()
        num = min(BATCH, num_left - batch * BATCH)
        for number in range(num):
            suffix, data = rng.choice(seeds)
            bad = damaged(bytearray(data), rng.choice(seeds)[1], rng)
            (folder / f"{number}.{suffix}").write_bytes(bad)
        names = {path.name for path in folder.iterdir()}
        wrong = wrong_rows(start_build(tmp_path / f"library{batch}", folder), names)
        attack.count(num=num)
        for one in wrong:
            attack.failures.append(f"batch {batch} ({folder}): {one}")


def test_every_seed_of_the_attacks_is_built(
    attack: Attack,
    seeds: list[tuple[str, bytes]],
    tmp_path: Path,
    start_build: Callable[..., subprocess.Popen[str]],
) -> None:
    """The control: undamaged, all of them are read."""
    folder = tmp_path / "films"
    folder.mkdir()
    for number, (suffix, data) in enumerate(seeds):
        (folder / f"{number}.{suffix}").write_bytes(data)
    build = start_build(tmp_path / "library", folder)
    out, err = build.communicate(timeout=MAX_BUILD_S)
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == len(seeds), err
    for name, status, reason, _ in rows:
        attack.count("" if status == "built" else f"{name}: {status} {reason}")

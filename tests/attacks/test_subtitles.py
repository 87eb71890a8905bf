"""Damaged subtitles of every format: cues or the declared error, within seconds."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from fdvs.errors import FdvsError
from fdvs.models.describe.subtitle_files import read_subtitle_file

from .conftest import Attack

pytestmark = pytest.mark.attack

SEEDS = {
    "srt": "1\n00:00:01,000 --> 00:00:02,500\nHello <i>there</i>\n\n"
    "2\n00:00:03,000 --> 00:00:04,000\nYou\n",
    "vtt": "WEBVTT\n\nNOTE a\n\n00:01.000 --> 00:02.000 align:start\n<v Ann>Hello\n\n"
    "STYLE\n::cue {}\n",
    "ass": "[Script Info]\nTitle: x\n\n[Events]\nFormat: Layer, Start, End, Style, Text\n"
    "Dialogue: 0,0:00:01.00,0:00:02.00,Default,{\\pos(1,2)}Hello\\Nthere\n",
    "sub": "{1}{1}25.000\n{25}{50}Hello|there\n{60}{90}You\n",
    "lrc": "[ti:x]\n[00:01.00]Hello\n[00:02.50]<00:02.60>there\n",
    "sbv": "0:00:01.000,0:00:02.000\nHello\n\n0:00:03.000,0:00:04.000\nthere\n",
    "txt": "[10][25]Hello\n[30][40]there\n",
}
PIECES = (
    "-->", "00:00:00,000", "99:99:99,999", "{", "}", "{\\", "<", "</", "&#x0;", "&lt;", "\0", "\r",
    "\ufeff", "\u202e", "[", "WEBVTT", "{1}{1}0", "{0}{-1}", "9" * 400, "-" * 900, "<" * 2000,
    "\\N" * 500, "1e999", "nan", "\n" * 300,
)  # fmt: skip
ENCODINGS = ("utf-8", "utf-16", "utf-16-be", "utf-32", "cp1252", "shift_jis", "koi8-r")
MAX_S = 10.0


def damaged(text: str, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 10)):
        at, num = rng.randrange(len(text) + 1), rng.choice((1, 5, 40))
        match rng.randrange(5):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + num :]
            case 2:
                text = text[:at] + text[max(0, at - num) : at] * rng.choice((2, 50)) + text[at:]
            case 3:
                text = (
                    text[:at] + chr(rng.choice((0, 7, 0x85, 0x2028, 0xFFFF, 0x1F600))) + text[at:]
                )
            case _:
                text = text[:at] + rng.choice(list(SEEDS.values())) + text[at:]
    data = bytearray(text.encode(rng.choice(ENCODINGS), "replace"))
    for _ in range(rng.choice((0, 0, 1, 6))):
        data[rng.randrange(len(data) or 1) : 0] = rng.randbytes(rng.randint(1, 4))
    return bytes(data)


def what_is_wrong(path: Path, rng: random.Random) -> str:
    began_s = time.monotonic()
    try:
        cues = read_subtitle_file(path, fps=rng.choice([None, 25.0, 0.0])).cues
    except FdvsError as error:
        return "" if str(error) and "\n" not in str(error) else f"error text {str(error)!r}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    if time.monotonic() - began_s > MAX_S:
        return "took too long"
    return next((f"bad cue {cue}" for cue in cues if not 0 <= cue.start_s <= cue.end_s < 1e9), "")


def test_damaged_subtitles(attack: Attack, tmp_path: Path) -> None:
    rng = random.Random(3)
    for number in range(attack.trials(500)):
        suffix = rng.choice(list(SEEDS))
        path = tmp_path / f"{number}.{suffix}"
        path.write_bytes(damaged(SEEDS[suffix], rng))
        wrong = what_is_wrong(path, rng)
        attack.count(f"{path}: {wrong}" if wrong else "")

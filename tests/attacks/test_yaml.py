"""Damaged or hostile settings files and cards: values, or one short ConfigError, at once."""

from __future__ import annotations

import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib import resources
from json import dumps, loads
from pathlib import Path
from types import FrameType

import pytest
import yaml

from fdvs.config import Config
from fdvs.configfile import config_to_json
from fdvs.datasets import cards as dataset_cards
from fdvs.errors import ConfigError
from fdvs.models import cards as model_cards
from fdvs.pipelines.presets import PRESETS, settings
from fdvs.yamlfile import parse_yaml, read_yaml

from .conftest import Attack

pytestmark = pytest.mark.attack

MAX_S = 10.0
MAX_MESSAGE_CHARS = 3000
WRITTEN = """\
# by hand
preset: laptop
cut: {method: scenes, min_clip_s: 1.5}
perceive: &p
  sources: [auto, -ocr]
  language: "de"
visual: {<<: {policy: random}, seed: 1}
textual: {policy: paper, memory: 20}
models: {llm: "endpoint:http://127.0.0.1:8000/v1#my-model"}
"""
LAUGHS = "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'x'}]\n" for n in range(12)
)
MERGES = "".join(
    f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}\n" if n else "m0: &m0 {x: 1}\n"
    for n in range(12)
)
PIECES = (
    *("[" * 5000, "{a: " * 3000, "- " * 900, "? " * 400, "!!python/object/apply:os.system [true]"),
    *("!!python/name:os.system", "!!python/module:os", "!!binary aGk=", "!!set {a}"),
    *("!!omap [a: 1]", "&p [*p]", LAUGHS, MERGES),
    *("!!timestamp 2020-01-01", "2020-01-01", "!!float nan", ".inf", "-.INF", ".nan", "1e999"),
    *("9" * 4301, "9" * 400 + ".5", "0x" + "f" * 5000, "1:" * 5000 + "1", "0b" + "1" * 9000),
    *("\0", "\x1b[31m", "\ufeff", "\u2028", "\x85", "\ud7ff", "\t", "\r", "'", '"', "|", ">", "%"),
    *("---\n", "...\n", "%YAML 9.9\n---\n", "%TAG ! tag:x:\n---\n", "&a *a", "*p", "<<: "),
    *("<<: *p", "=", "null: 1", "true: 1", "1: 2", "1.5: 2", "? [a]\n: b\n", "? {a: b}\n: c\n"),
    *("x" * 100_000, "x: " * 3000, "'" * 3000, "# " * 9000, "&" * 500, "!" * 500, "a: 1\na: 2\n"),
    *("cut: {min_clip_s: 1, min_clip_s: 2}\n", "preset: nowhere\n", "preset: [a]\n", "preset: 1\n"),
    *("cut: []\n", "cut: null\n", "perceive: {sources: {a: b}}\n", "perceive: {sources: [[[]]]}\n"),
    *("visual: {seed: 1.5}\n", "models: {llm: {}}\n", "published: 3\n", "splits: [a]\n"),
    *("options: [1]\n", "wheel: {files: 3}\n", "published: [{systems: {a: {percent: {b: c}}}}]\n"),
    *("published: [3]\n", "published: [{systems: 4}]\n", "published: [{systems: {a: 4}}]\n"),
    *("published: [{systems: {a: {percent: 4}}}]\n", "changes: {x: y}\n", "rows: x\n"),
)  # fmt: skip
ENCODINGS = ("utf-16", "utf-16-be", "utf-32", "cp1252", "shift_jis", "utf-7")


def card_texts(package: str) -> Iterator[str]:
    for path in sorted((resources.files(package) / "cards").iterdir(), key=lambda one: one.name):
        if path.name.endswith(".yaml"):
            yield path.read_text("utf-8")


def read_settings(path: Path) -> None:
    assert isinstance(settings(None, path), Config)


def read_model_card(path: Path) -> None:
    card = model_cards.card_from("mine", read_yaml(path))
    assert isinstance(card.options, dict)


def read_dataset_card(path: Path) -> None:
    dataset_cards.card_from("mine", read_yaml(path)).split()


def seeds() -> dict[Callable[[Path], None], list[str]]:
    configs = [make() for make in PRESETS.values()]
    plain = [loads(dumps(asdict(config))) for config in configs]
    return {
        read_settings: [WRITTEN, *(yaml.safe_dump(one, sort_keys=False) for one in plain),
                        dumps(config_to_json(Config()), indent=1)],
        read_model_card: list(card_texts("fdvs.models")),
        read_dataset_card: list(card_texts("fdvs.datasets")),
    }  # fmt: skip


def damaged(text: str, others: list[str], rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 6)):
        lines = text.splitlines(keepends=True) or [""]
        row, at = rng.randrange(len(lines)), rng.randrange(len(text) + 1)
        match rng.randrange(8):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = "".join([*lines[:row], rng.choice(PIECES) + "\n", *lines[row:]])
            case 2:
                text = "".join([*lines[: row + 1], *lines[row:]])  # a key twice
            case 3:
                text = text[:at] + text[at + rng.choice((1, 7, 60)) :]
            case 4:
                head, colon, _ = lines[row].partition(":")
                lines[row] = f"{head}{colon} {rng.choice(PIECES)}\n"
                text = "".join(lines)
            case 5:
                lines[row] = rng.choice(("  ", "\t", "- ", "")) + lines[row].lstrip(" ")
                text = "".join(lines)
            case 6:
                text += rng.choice(others)
            case _:
                text = text[:at] + chr(rng.choice((0, 9, 0x85, 0xFEFF, 0x1F600, 0x7F))) + text[at:]
    if rng.random() < 0.08:
        return text.encode(rng.choice(ENCODINGS), "replace")
    data = bytearray(text.encode("utf-8", "surrogatepass"))
    for _ in range(rng.choice((0, 0, 0, 0, 3))):
        data[rng.randrange(len(data) or 1) : 0] = rng.randbytes(2)
    return bytes(data)


VALUES = (
    *(None, True, 0, -1, 1.5, 10**40, -(10**60), 1e308, "", "x" * 9000, "\u202e", "\x00", [], {}),
    *([[]], [None], {"a": 1}, {1: {2: 3}}, [1, "a", None], {"<<": 1}, "!!python/name:os", "*a"),
    *("endpoint:", ":", "a" * 500 + ":b", "../../x", "/dev/zero", ["x"] * 5000, {"percent": "a"}),
)  # fmt: skip


def changed(text: str, rng: random.Random) -> bytes:
    """Return the text's values with some replaced, removed or added, as YAML or JSON."""
    values = parse_yaml(text.encode(), where="seed")
    for _ in range(rng.randint(1, 3)):
        inside = values
        while True:
            keys = list(inside) if isinstance(inside, dict) else list(range(len(inside)))
            key = rng.choice(keys) if keys and rng.random() < 0.95 else rng.choice(("new", 7, True))
            if isinstance(inside, list) and (not isinstance(key, int) or not key < len(inside)):
                inside.append(rng.choice(VALUES))
                break
            further = inside.get(key) if isinstance(inside, dict) else inside[key]
            if isinstance(further, dict | list) and rng.random() < 0.8:
                inside = further
            elif rng.random() < 0.1:
                if key in keys:
                    del inside[key]
                break
            else:
                inside[key] = rng.choice(VALUES)
                break
    return yaml.safe_dump(values, allow_unicode=rng.random() < 0.5).encode("utf-8", "surrogatepass")


class TooLong(BaseException):
    """No Exception, so that no code takes it for one of its own."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def what_is_wrong(read: Callable[[Path], None], path: Path) -> str:
    try:
        with time_limit(MAX_S):
            read(path)
    except ConfigError as error:
        text = str(error)
        return "" if 0 < len(text) < MAX_MESSAGE_CHARS + len(str(path)) else f"{len(text)} chars"
    except TooLong:
        return f"not done in {MAX_S} s"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    return ""


def test_the_seeds_are_valid(tmp_path: Path) -> None:
    for read, texts in seeds().items():
        assert texts
        for text in texts:
            (tmp_path / "seed.yaml").write_text(text, encoding="utf-8")
            read(tmp_path / "seed.yaml")


def test_damaged_yaml(attack: Attack, tmp_path: Path) -> None:
    rng = random.Random(17)
    kinds = [(read, text, texts) for read, texts in seeds().items() for text in texts]
    of_settings = [kind for kind in kinds if kind[0] is read_settings]
    for number in range(attack.trials(200)):
        read, text, others = rng.choice(of_settings if number % 2 else kinds)
        path = tmp_path / f"{number}.yaml"
        is_text = rng.random() < 0.5
        path.write_bytes(damaged(text, others, rng) if is_text else changed(text, rng))
        wrong = what_is_wrong(read, path)
        attack.count(f"{path} ({read.__name__}): {wrong}" if wrong else "")
        if not wrong:
            path.unlink()


def test_what_is_read_is_what_pyyaml_reads() -> None:
    """Bounds change no value."""
    for texts in seeds().values():
        for text in texts:
            assert parse_yaml(text.encode(), where="here") == yaml.safe_load(text)

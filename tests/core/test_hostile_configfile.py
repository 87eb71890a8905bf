"""Settings files that attack: each is one ConfigError with a short text, at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fdvs.config import Config
from fdvs.configfile import config_from_json, load_config
from fdvs.errors import ConfigError, InvalidValue, UnknownName
from fdvs.excerpts import shown
from fdvs.yamlfile import MAX_BYTES, MAX_DEPTH, MAX_VALUES, parse_yaml

MAX_MESSAGE_CHARS = 1000
LAUGHS = "".join(
    f"  - &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" if n else "  - &a0 [x, x, x]\n"
    for n in range(9)
)


def refused(tmp_path: Path, data: str | bytes) -> str:
    """Return the message of the ConfigError that a file is refused with."""
    file = tmp_path / "settings.yaml"
    file.write_bytes(data.encode() if isinstance(data, str) else data)
    with pytest.raises(ConfigError) as caught:
        load_config(file, Config())
    assert len(str(caught.value)) < MAX_MESSAGE_CHARS + len(str(file))
    assert "settings.yaml" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"sample:\n{LAUGHS}", "line 3: its aliases stand for over|aliases stand for over"),
        (f"sample: {{num_frames_per_clip: {'x' * 100_000}}}", "xxx"),
        ("sample: " + "[" * 5000, "line 1: nested deeper than"),
        ("sample: " + "{a: " * 3000, "nested deeper than"),
        ("".join(" " * n + "a:\n" for n in range(700)), "nested deeper than"),
        ("sample: " + "- " * 900 + "x", "nested deeper than|not YAML"),
        (f"sample: {{num_frames_per_clip: {'9' * 4301}}}", "a number of 4301 characters"),
        (f"cut: {{min_clip_s: {'9' * 400}}}", "a number of 400 characters"),
        (f"cut: {{min_clip_s: {'9' * 400}.0}}", "a number of 402 characters"),
        (f"cut: {{min_clip_s: {'1:' * 30_000}1}}", "a number of 60001 characters"),
        ("cut: {min_clip_s: 1.0e+999}", "not a finite number"),
        ("cut: {min_clip_s: .nan}", "not a finite number"),
        ("cut: {min_clip_s: -.inf}", "not a finite number"),
        ("cut:\n  min_clip_s: 1\n  method: scenes\n  min_clip_s: 2\n",
         r"line 4: key 'min_clip_s' twice \(lines 2 and 4\)"),
        ("cut: {min_clip_s: 1}\nread: {}\n\ncut: {}\n", r"key 'cut' twice \(lines 1 and 4\)"),
        ("cut: {'min_clip_s': 1, !!str min_clip_s: 2}", "twice"),
        ("? [a, b]\n: 1\n", "a key is a list or a mapping"),
        ("? {a: b}\n: 1\n", "a key is a list or a mapping"),
        ("true: {}", "unknown setting 'True'"),
        ("12: {}", "unknown setting '12'"),
        ("null: {}", "unknown setting 'None'"),
        ("x" * 1000 + ": {}", "unknown setting 'xxx"),
        ("? " + "x" * 100_000 + "\n: {}", "unknown setting 'xxx"),
        ("x" * 100_000 + ": {}", "not YAML"),
        ("perceive: {language: 2020-01-01}", "!!timestamp is not YAML of plain values.*quotes"),
        ("perceive: {language: !!binary aGk=}", "!!binary is not YAML of plain values"),
        ("perceive: {sources: !!set {a, b}}", "!!set is not YAML of plain values"),
        ("perceive: {sources: !!omap [a: 1]}", "!!omap is not YAML of plain values"),
        ("a: !!python/object/apply:os.system [ls]", "!!python/object/apply:os.system is not YAML"),
        ("a: !!python/name:os.system", "not YAML of plain"),
        ("a: !local {b: 1}", "!local is not YAML of plain values"),
        ("perceive: {language: =}", "!!value is not YAML of plain values"),
        ("sample: &a [*a]", "an alias inside of what it stands for"),
        ("sample: &a {b: *a}", "an alias inside"),
        ("sample: *nothing", "not YAML: found undefined alias"),
        ("a: 1\n---\nb: 2\n", "not YAML: expected a single document"),
        ("a: \x00", "not YAML: .*special characters"),
        ("\ufeffa: [", "not YAML"),
        (b"a: \xff", "byte 3 is not UTF-8; save the file as UTF-8"),
        ("cut: {}".encode("utf-16"), "byte 0 is not UTF-8; save the file as UTF-8"),
        ("cut: {}".encode("utf-32-be"), "not YAML"),
        ("perceive: {sources: [" + "a, " * 30_000 + "]}", f"over {MAX_VALUES} values"),
        ("#" * (MAX_BYTES + 1), f"cannot be read: over {MAX_BYTES} bytes"),
        ("preset: [laptop]", "preset is \\['laptop'\\]; allowed: the name of a preset"),
    ],
)  # fmt: skip
def test_what_attacks_is_one_short_error(tmp_path: Path, text: str | bytes, words: str) -> None:
    message = refused(tmp_path, text)
    import re

    assert re.search(words, message), message


def test_a_bomb_of_merges_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}" for n in range(1, 9)]
    assert "aliases stand for over" in refused(tmp_path, "\n".join(lines))


def test_aliases_that_nest_are_refused(tmp_path: Path) -> None:
    lines = ["- &a0 [x]", *(f"- &a{n} [*a{n - 1}]" for n in range(1, 2 * MAX_DEPTH))]
    assert "nest deeper than" in refused(tmp_path, "\n".join(lines))


def test_small_aliases_and_merges_mean_what_they_say() -> None:
    text = b"base: &b {policy: paper, seed: 1}\nvisual: {<<: *b, seed: 2}\ntextual: *b\n"
    assert parse_yaml(text, where="here") == {
        "base": {"policy": "paper", "seed": 1},
        "visual": {"policy": "paper", "seed": 2},
        "textual": {"policy": "paper", "seed": 1},
    }


def test_a_mark_of_byte_order_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(b"\xef\xbb\xbfcut: {min_clip_s: 1}\n")
    assert load_config(file, Config()).cut.min_clip_s == 1.0


def test_what_is_no_regular_file_is_neither_waited_for_nor_read(tmp_path: Path) -> None:
    pipe, sparse = tmp_path / "pipe.yaml", tmp_path / "sparse.yaml"
    os.mkfifo(pipe)
    sparse.touch()
    os.truncate(sparse, 1 << 40)
    for place, words in {
        pipe: "not a regular file",
        Path("/dev/zero"): "not a regular file",
        tmp_path: "not a regular file",
        sparse: "over .* bytes",
        tmp_path / "none.yaml": "No such file",
        tmp_path / ("x" * 300): "File name too long",
    }.items():
        with pytest.raises(ConfigError, match=f"cannot be read: {words}"):
            load_config(place, Config())


@pytest.mark.parametrize("place", ["pipe", "/dev/zero"])
def test_the_command_line_ends_with_the_code_of_wrong_usage(tmp_path: Path, place: str) -> None:
    if place == "pipe":
        place = str(tmp_path / "pipe.yaml")
        os.mkfifo(place)
    program = "import sys; from fdvs.pipelines.cli.main import run; sys.exit(run(sys.argv[1:]))"
    command = [sys.executable, "-P", "-c", program, "config", "--config", place]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "not a regular file" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"cut": {"min_clip_s": 10**400}}, InvalidValue),
        ({"cut": {"min_clip_s": float("nan")}}, InvalidValue),
        ({"cut": {"min_clip_s": 10**5000}}, InvalidValue),
        ({"sample": {"num_frames_per_clip": 10**5000}}, InvalidValue),
        ({"perceive": {"language": ["x"] * 10**5}}, InvalidValue),
        ({"models": {"llm": {"a": {"b": "x" * 10**6}}}}, InvalidValue),
    ],
)
def test_a_stored_value_of_any_size_is_a_short_error(
    values: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error) as caught:
        config_from_json(values)
    assert len(str(caught.value)) < MAX_MESSAGE_CHARS


def test_any_value_is_shown_within_bounds() -> None:
    one: list[object] = ["x"] * 9
    for _ in range(30):
        one = [one] * 9
    circle: dict[str, object] = {}
    circle["self"] = circle
    for value in (one, circle, "x" * 10**7, 10**6000, [10**6000], {"a" * 10**6: 1}, b"x" * 10**6):
        assert len(shown(value)) <= 160
    assert shown(["a", 1.5, None]) == "['a', 1.5, None]"


def test_an_unknown_name_of_any_length_is_a_short_error() -> None:
    error = UnknownName("setting", "x" * 10**6, ["cut"], where="y" * 10**6)
    assert len(str(error)) < MAX_MESSAGE_CHARS

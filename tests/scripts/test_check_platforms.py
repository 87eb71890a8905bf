"""The check of wheels asks for every system and fails where one has none; uv is a stand-in."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
UV = """#!{python}
import sys
line = " ".join(sys.argv[1:])
with open({log!r}, "a") as file:
    file.write(line + "\\n")
if {missing!r} in line:
    sys.exit("error: av has no usable wheels")
print("av==1\\nnumpy==2\\n# a comment")
"""


def check(folder: Path, *, missing: str) -> tuple[int, list[str], list[str]]:
    log, uv = folder / "log", folder / "uv"
    uv.write_text(UV.format(python=sys.executable, log=str(log), missing=missing))
    uv.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "scripts/check_platforms.py", "--python", "3.11"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PATH": str(folder)},
    )  # fmt: skip
    return done.returncode, done.stdout.splitlines(), log.read_text().splitlines()


def test_each_system_is_resolved_with_wheels_alone(tmp_path: Path) -> None:
    code, told, asked = check(tmp_path, missing="nothing is")
    assert code == 0
    assert [line.split("Python")[1].split() for line in told] == [
        ["3.11", "2", "packages,", "all", "with", "wheels"]
    ] * 3
    for line, system in zip(asked, ["linux", "apple", "windows"], strict=True):
        assert system in line
        assert "--only-binary :all:" in line
        assert "--extra speech" in line


@pytest.mark.parametrize("system", ["linux", "apple", "windows"])
def test_a_missing_wheel_fails_and_is_named(tmp_path: Path, system: str) -> None:
    code, told, asked = check(tmp_path, missing=system)
    assert code == 1
    assert len(asked) == 3
    assert sum("av has no usable wheels" in line for line in told) == 1


def test_without_uv_it_says_what_to_install(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "scripts/check_platforms.py"],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PATH": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "pip install uv" in done.stderr

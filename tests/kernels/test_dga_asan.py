"""The cpp backend under an address sanitizer, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = Path(__file__).with_name("asan_calls.py")
SECONDS = 600


@pytest.fixture(scope="module")
def kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder: the sanitized library is compiled once for all tests."""
    return tmp_path_factory.mktemp("asan")


def sanitized(what: str, kernels: Path) -> subprocess.CompletedProcess[str]:
    """Run calls in a process whose memory is watched; skip where there is no sanitizer."""
    try:
        found = subprocess.run(
            ["g++", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no g++ to ask for its address sanitizer: {error}")
    if not Path(found).is_file():
        pytest.skip("g++ is installed without libasan (package libasan8 or gcc)")
    watched = {
        **os.environ, "LD_PRELOAD": found, "ASAN_OPTIONS": "detect_leaks=0", "CXX": "g++",
        "XDG_CACHE_HOME": str(kernels),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, str(CALLS), what], capture_output=True, text=True, env=watched,
        timeout=SECONDS, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_no_call_reads_or_writes_beyond_its_tensors(kernels: Path) -> None:
    done = sanitized("calls", kernels)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "all compared"


@pytest.mark.slow
@pytest.mark.parametrize(("what", "file"), [("attend", "attend.cpp"), ("judge", "judge.cpp")])
def test_one_key_too_many_is_found(what: str, file: str, kernels: Path) -> None:
    """The sanitizer sees a fault of one key, so the test above can fail."""
    done = sanitized(what, kernels)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
    assert file in done.stderr

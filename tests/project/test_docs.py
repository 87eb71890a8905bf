"""Documents say what the code does: help, settings, rooms, links, presets, Python examples."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text("utf-8")
ROLES = ("fdvs", "models", "kernels", "datasets", "pipelines")


def committed(*patterns: str) -> list[str]:
    """Return the files that git knows, as paths from the root; skip where there is no git."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    return [name for name in listed.split("\0") if name and (ROOT / name).exists()]


@pytest.fixture
def make_docs(
    monkeypatch: pytest.MonkeyPatch, load_script: Callable[[str], ModuleType]
) -> ModuleType:
    monkeypatch.delenv("FDVS_LIBRARY", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return load_script("scripts/make_docs.py")


# --- generated pages --------------------------------------------------------------------------


def test_the_page_of_the_command_line_is_what_help_says(make_docs: ModuleType) -> None:
    assert (ROOT / "docs/cli.md").read_text("utf-8") == make_docs.cli_page()


def test_the_page_of_settings_is_what_the_code_says(make_docs: ModuleType) -> None:
    page = (ROOT / "docs/settings.md").read_text("utf-8")
    assert page == make_docs.settings_page()
    assert re.search(r'^\| `policy` \| `"cover"` \| `cover`, ', page, re.M)


def test_the_example_of_the_settings_page_is_valid(make_docs: ModuleType, tmp_path: Path) -> None:
    from fdvs.config import Config
    from fdvs.configfile import load_config

    example = make_docs.SETTINGS_HEAD.split("```yaml\n")[1].split("```")[0]
    file = tmp_path / "example.yaml"
    file.write_text(example)
    assert load_config(file, Config()).perceive.sources == ("auto", "-ocr")


def test_the_check_notices_a_stale_page(make_docs: ModuleType, tmp_path: Path) -> None:
    pages = {tmp_path / "cli.md": "commands\n", tmp_path / "settings.md": "settings\n"}
    assert make_docs.stale(pages) == list(pages)
    make_docs.write(pages)
    assert make_docs.stale(pages) == []
    (tmp_path / "cli.md").write_text("commands\nand more\n")
    assert make_docs.stale(pages) == [tmp_path / "cli.md"]


# --- rooms and files --------------------------------------------------------------------------


def rooms_on_disk() -> set[str]:
    """Return the folders that hold files of ours: at the top, and `fdvs/text` and so on."""
    folders = [Path(name).parent.parts for name in committed()]
    rooms = {"/".join(parts[:2]) for parts in folders if parts[1:] and parts[0] in ROLES}
    return rooms | {parts[0] for parts in folders if parts and not parts[0].startswith(".")}


def rooms_in_readme() -> set[str]:
    """Return the folders that the README's tree names; indented lines belong to the last one."""
    found, top = set(), ""
    for line in README.split("## Files\n\n```text\n")[1].split("```")[0].splitlines():
        names = re.findall(r"(?<![\w/])([a-z]+)/(?=\W|$)", line)
        tops = [] if line.startswith(" ") else [name for name in names if (ROOT / name).is_dir()]
        top = tops[0] if tops else top
        found |= {*tops, *(f"{top}/{name}" for name in names if name not in tops)}
    return found


def test_the_readmes_tree_and_the_disk_have_the_same_rooms() -> None:
    assert rooms_in_readme() == rooms_on_disk()


def test_six_ways_into_the_code_are_short_and_exist() -> None:
    ways = ARCHITECTURE.split("## Six ways into the code")[1].split("\n### ")[1:]
    files = {way.splitlines()[0]: re.findall(r"^\d\. `([^`]+)`", way, re.M) for way in ways}
    assert len(files) == 6
    assert [title for title, paths in files.items() if not 1 <= len(set(paths)) < 5] == []
    assert [title for title, paths in files.items() if len(set(paths)) < len(paths)] == []
    assert [path for paths in files.values() for path in paths if not (ROOT / path).is_file()] == []


def test_files_that_documents_name_exist() -> None:
    """Paths in code quotes, text or drawings."""
    pages = committed("*.md")
    tops = "|".join([*ROLES, "scripts", "research", "tests"])
    path = re.compile(rf"(?<![\w/.:@-])((?:{tops})/[\w/.]+\.\w+)")
    missing = [
        f"{page}: {name}"
        for page in pages
        for name in path.findall((ROOT / page).read_text("utf-8"))
        if not (ROOT / name).exists() and not (ROOT / name.removeprefix("fdvs/")).exists()
    ]
    assert missing == []


# --- links and examples -----------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub spells them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_links_within_the_repository_lead_somewhere() -> None:
    missing = []
    for page in committed("*.md"):
        for target in re.findall(r"\]\(([^)\s]+)\)", (ROOT / page).read_text("utf-8")):
            if "://" in target:
                continue
            name, _, anchor = target.partition("#")
            place = (ROOT / page).parent / name if name else ROOT / page
            if not place.exists() or (anchor and anchor not in anchors(place)):
                missing.append(f"{page}: {target}")
    assert missing == []


def test_every_page_can_be_reached_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[\w-]+\.md)\)", README))
    assert linked == {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")}


@pytest.mark.parametrize("page", ["README.md", "docs/python.md"])
def test_python_examples_compile(page: str) -> None:
    examples = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text("utf-8"), re.S)
    assert examples
    for code in examples:
        compile(code, page, "exec")


def test_the_names_that_python_examples_import_exist() -> None:
    for page in ("README.md", "docs/python.md"):
        text = (ROOT / page).read_text("utf-8")
        for module, names in re.findall(r"^from (fdvs\S*) import (.+)$", text, re.M):
            for name in names.split(", "):
                assert hasattr(importlib.import_module(module), name), f"{page}: {module}.{name}"


def test_the_page_of_python_names_every_method_and_protocol() -> None:
    import fdvs.protocols
    from fdvs import Library

    page = (ROOT / "docs/python.md").read_text("utf-8")
    methods = page.split("## Methods")[1].split("\n## ")[0]
    named = re.findall(r"^\| `(?:Library\.)?(\w+)\(", methods, re.M)
    public = {name for name in vars(Library) if not name.startswith("_")}
    assert set(named) == public - {"close", "path"}
    protocols = re.findall(r"\| `([A-Z]\w+)` \|", page.split("## Your own models")[1])
    assert protocols
    assert [name for name in protocols if not hasattr(fdvs.protocols, name)] == []


def test_yaml_examples_are_valid_settings(tmp_path: Path) -> None:
    from fdvs.config import Config
    from fdvs.configfile import load_config

    examples = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/presets.md").read_text("utf-8"), re.S)
    assert examples
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(example)
        load_config(file, Config())


# --- the README -------------------------------------------------------------------------------


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 170


def test_the_readme_marks_every_preset_whose_real_weights_never_ran() -> None:
    from fdvs.pipelines.doctor import preset_state
    from fdvs.pipelines.presets import PRESETS

    for name, make in PRESETS.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
        assert ("†" in row) == bool(preset_state(name, make())["untested"]), name


def test_the_page_of_presets_names_every_extra() -> None:
    page = (ROOT / "docs/presets.md").read_text("utf-8")
    extras = importlib.metadata.metadata("fdvs").get_all("Provides-Extra") or []
    assert extras
    assert [extra for extra in extras if f"`{extra}`" not in page] == []


def test_documents_and_messages_install_from_the_clone_only() -> None:
    """No package of ours is on an index, so whoever installs one by that name gets a stranger's."""
    advice = re.compile(r"pip install [^\n`]*\bfdvs\b|\bfdvs\[")
    files = [name for name in committed("*.md", "*.py") if name != "tests/project/test_docs.py"]
    assert [name for name in files if advice.search((ROOT / name).read_text("utf-8"))] == []


def test_decisions_are_numbered_once_and_begin_with_a_summary() -> None:
    decisions = sorted((ROOT / "docs/decisions").glob("*.md"))
    numbers = [path.name[:3] for path in decisions]
    assert len(numbers) == len(set(numbers)) >= 16
    heads = {path.name: path.read_text("utf-8").splitlines()[:5] for path in decisions}
    for name, (title, *rest) in heads.items():
        assert title.startswith(f"# {name[:3]} "), name
        assert [line.startswith("> ") for line in rest] == [False, True, True, False], name


def test_the_licence_is_the_standard_text() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text.splitlines()[0] + text.splitlines()[1]
    assert "END OF TERMS AND CONDITIONS" in text

"""Documents say what the code does: help, commands, file tree, links, presets."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/concepts.md", "docs/glossary.md"]


def load_script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_docs(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.delenv("FDVS_LIBRARY", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return load_script("make_docs")


def tree_lines() -> list[str]:
    return README.split("## Files\n\n```text\n")[1].split("```")[0].splitlines()


def test_the_page_of_the_command_line_is_what_help_says(make_docs: ModuleType) -> None:
    assert (ROOT / "docs/cli.md").read_text("utf-8") == make_docs.cli_page()


def test_the_page_of_settings_is_what_the_code_says(make_docs: ModuleType) -> None:
    page = (ROOT / "docs/settings.md").read_text("utf-8")
    assert page == make_docs.settings_page()
    assert '| `policy` | `"cover"` | `cover`, `paper`,' in page


def test_the_example_of_the_settings_page_is_valid(make_docs: ModuleType, tmp_path: Path) -> None:
    from fdvs.config import Config
    from fdvs.configfile import load_config

    example = make_docs.SETTINGS_HEAD.split("```yaml\n")[1].split("```")[0]
    file = tmp_path / "example.yaml"
    file.write_text(example)
    assert load_config(file, Config()).perceive.sources == ("subtitles", "speech-tiny-en")


def test_the_check_notices_a_stale_page(
    make_docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "docs" / "cli.md"
    page.parent.mkdir()
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "CLI_DOC", page)
    monkeypatch.setattr(make_docs, "SETTINGS_DOC", page.with_name("settings.md"))
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 1
    monkeypatch.setattr(sys, "argv", ["make_docs.py"])
    assert make_docs.main() == 0
    monkeypatch.setattr(sys, "argv", ["make_docs.py", "--check"])
    assert make_docs.main() == 0
    page.write_text(page.read_text("utf-8") + "stale\n")
    assert make_docs.main() == 1


def test_the_readme_names_every_command(make_docs: ModuleType) -> None:
    commands = [" ".join(["fdvs", *words]) for words in make_docs.command_paths() if words]
    missing = [c for c in commands if c not in README and c != "fdvs models"]
    assert missing == []


def test_every_name_of_the_readmes_file_tree_exists() -> None:
    missing, folder = [], ROOT
    for line in tree_lines():
        name = line.split()[0]
        place = folder if line.startswith(" ") else ROOT
        if not line.startswith(" ") and name.endswith("/"):
            folder = ROOT / name
        if not (place / name).exists():
            missing.append(line)
    assert missing == []


def test_the_readmes_file_tree_names_every_top_level_folder() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False
    ).stdout.decode()
    folders = {name.split("/")[0] for name in listed.split("\0") if "/" in name}
    named = {line.split("/")[0] for line in tree_lines() if not line.startswith(" ")}
    assert {f for f in folders if not f.startswith(".")} <= named


@pytest.mark.parametrize("page", PAGES)
def test_links_within_the_repository_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    targets = re.findall(r"\]\(([^)#]+)\)", text)
    missing = [
        target
        for target in targets
        if "://" not in target and not ((ROOT / page).parent / target).exists()
    ]
    assert missing == []


def test_the_readme_marks_every_preset_whose_real_weights_never_ran() -> None:
    from fdvs.pipelines.doctor import preset_state
    from fdvs.pipelines.presets import PRESETS

    for name, make in PRESETS.items():
        row = next(line for line in README.splitlines() if line.startswith(f"| `{name}`"))
        assert ("†" in row) == bool(preset_state(name, make()).untested), name


def test_the_readme_names_every_extra() -> None:
    import importlib.metadata

    extras = importlib.metadata.metadata("fdvs").get_all("Provides-Extra") or []
    assert extras
    assert [extra for extra in extras if f"`{extra}`" not in README] == []


def test_the_readmes_python_uses_names_that_exist() -> None:
    code = README.split("```python\n")[1].split("```")[0]
    compile(code, "README.md", "exec")
    assert len([line for line in code.splitlines() if line.strip()]) <= 10


def test_decisions_are_numbered_once() -> None:
    numbers = [path.name[:3] for path in (ROOT / "docs/decisions").glob("*.md")]
    assert len(numbers) == len(set(numbers)) >= 2


def test_the_licence_is_the_standard_text() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text.splitlines()[0] + text.splitlines()[1]
    assert "END OF TERMS AND CONDITIONS" in text

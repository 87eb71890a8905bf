"""The table from numbers to commands: complete, and true to the files."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "research" / "README.md").read_text("utf-8")


def test_every_measurement_has_its_row() -> None:
    names = {path.name for path in (ROOT / "benchmarks").iterdir() if path.suffix != ".md"}
    missing = {name for name in names if f"`{name}`" not in README}
    assert {name for name in missing if not name.startswith("attention_heads_")} == set()


def test_every_script_is_named_and_every_name_is_a_script() -> None:
    scripts = {
        path.name for path in (ROOT / "research").iterdir() if path.suffix in {".py", ".cpp"}
    }
    named = set(re.findall(r"\b(\w+\.(?:py|cpp))\b", README))
    elsewhere = {"plan_attention.py", "finetune_dga.py", "tune_answers.py"}
    assert named - elsewhere == scripts
    for name in elsewhere - {"tune_answers.py"}:
        assert (ROOT / "scripts" / name).is_file()


def test_links_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (ROOT / "research" / link).exists()] == []

"""The public surface: what `fdvs` exports, lazily, and what each name is."""

from __future__ import annotations

import ast
import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import fdvs

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = [
    "Answer",
    "Config",
    "FdvsError",
    "Library",
    "Moment",
    "Story",
    "VideoHit",
    "VideoRow",
    "citation",
    "enable_dga",
    "read_with_dga",
]


def test_all_is_sorted_and_is_what_we_promise() -> None:
    assert fdvs.__all__ == PUBLIC == sorted(PUBLIC)


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(fdvs, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = fdvs.Nothing


def test_the_names_for_type_checkers_are_those_that_exist() -> None:
    tree = ast.parse((ROOT / "fdvs/__init__.py").read_text("utf-8"))
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fdvs.")
        for alias in node.names
    }
    assert sorted(imported) == PUBLIC
    assert imported == fdvs._HOMES


@pytest.mark.parametrize("name", ["Answer", "Config", "Moment", "Story", "VideoHit", "VideoRow"])
def test_results_are_frozen_and_keyword_only(name: str) -> None:
    kind = getattr(fdvs, name)
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert all(field.kw_only for field in dataclasses.fields(kind))


def test_importing_the_package_imports_nothing_else() -> None:
    program = "import fdvs, sys; print(*[m for m in sys.modules if m.startswith('fdvs.')])"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []


def test_the_version_is_that_of_the_metadata() -> None:
    import importlib.metadata

    assert fdvs.__version__ == importlib.metadata.version("fdvs")


def test_every_error_of_ours_is_an_fdvs_error() -> None:
    from fdvs import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    ours = [kind for kind in kinds if kind.__module__ == "fdvs.errors"]
    assert len(ours) > 10
    assert all(issubclass(kind, errors.FdvsError) for kind in ours)
    drawn = errors.__doc__ or ""
    assert [kind.__name__ for kind in ours if kind.__name__ not in drawn] == []

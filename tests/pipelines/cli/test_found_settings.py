"""`fdvs.yaml` is found in the library's folder and beside videos, and cannot bring models along."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.errors import ConfigError
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.cli.found import beside_videos, in_library

LONG = "cut: {max_clip_s: 21.0}\n"


@pytest.fixture
def films(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.mp4").write_bytes(b"a film")
    return tmp_path / "clips"


def write(folder: Path, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "fdvs.yaml").write_text(text)
    return folder / "fdvs.yaml"


def test_the_file_of_the_library_holds_for_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "library", LONG)
    assert in_library(tmp_path / "library") == path
    assert cli.run(["config", "-l", str(tmp_path / "library"), "--json"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["cut"]["max_clip_s"] == 21.0
    assert str(path) in told.err
    other = tmp_path / "other.yaml"
    other.write_text("cut: {max_clip_s: 9.0}\n")
    command = ["config", "-l", str(tmp_path / "library"), "--json", "--config", str(other)]
    assert cli.run(command) == 0
    assert json.loads(capsys.readouterr().out)["cut"]["max_clip_s"] == 9.0


def test_a_build_finds_the_file_beside_the_videos_and_says_so(
    films: Path, library: Any, make: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["build"] = make.report(make.build_row())
    path = write(films, LONG)
    assert cli.run(["build", str(films)]) == 0
    assert f"settings: {path}" in " ".join(capsys.readouterr().err.split())
    assert beside_videos([str(films / "a.mp4")]) == path
    assert beside_videos([str(films.parent)]) is None


def test_several_files_are_a_question(films: Path, tmp_path: Path) -> None:
    write(films, LONG)
    write(tmp_path / "more", LONG)
    with pytest.raises(ConfigError, match=r"several settings files.*--config"):
        beside_videos([str(films), str(tmp_path / "more")])


@pytest.mark.parametrize(
    "text",
    [
        "perceive: {captioner: 'endpoint:http://example.org/v1#m'}",
        "models: {llm: 'ollama:qwen3'}",
        "perceive: {sources: ['endpoint:http://example.org/v1#m']}",
        "preset: gpu",
    ],
)
def test_a_file_that_came_with_videos_brings_no_models(films: Path, text: str) -> None:
    path = write(films, text)
    with pytest.raises(ConfigError, match=f"names models.*--config {path}"):
        beside_videos([str(films)])


def test_it_may_say_how_its_videos_are_read(films: Path) -> None:
    write(films, "perceive: {sources: [auto, speech, -ocr], language: de}\n" + LONG)
    assert beside_videos([str(films)]) == films / "fdvs.yaml"

"""Several libraries: `fdvs merge`, and `fdvs search` with --library given twice."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from fdvs.models.scripted import HashTextEmbedder
from fdvs.pipelines.cli.main import run
from fdvs.pipelines.library import Library

pytestmark = pytest.mark.slow  # several builds each


@pytest.fixture
def build(
    tmp_path: Path, make_film: Callable[..., Path], models: dict[str, Any]
) -> Callable[..., Path]:
    """Return a function that builds a library of films of plain colours."""

    def built(name: str, films: Mapping[str, str], **other: Any) -> Path:
        paths = [
            make_film(tmp_path / film, [(colour, 2), ("white", 2)])
            for film, colour in films.items()
        ]
        with Library.open(tmp_path / name, models={**models, **other}) as library:
            report = library.build(paths)
        assert report.num_failed == 0
        return tmp_path / name

    return built


def test_two_shards_become_a_library_that_is_searched_as_one(
    build: Callable[..., Path],
    models: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    one, two = build("one", {"red.mp4": "red"}), build("two", {"blue.mp4": "blue"})
    command = ["merge", str(tmp_path / "all"), str(one), str(two)]
    assert run(command) == 0
    assert "2 added, 0 completed, 0 known, 0 left out" in capsys.readouterr().out
    assert run([*command, "--json"]) == 0
    value = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [video["how"] for video in value["videos"]] == ["known", "known"]
    films = [tmp_path / "red.mp4", tmp_path / "blue.mp4"]
    with Library.open(tmp_path / "all", models=models) as merged:
        found = {moment.name for moment in merged.search("wall painted")}
        rows = merged.build(films).rows
        assert merged.thumbnail("blue.mp4")[:2] == b"\xff\xd8"
    assert found == {"red.mp4", "blue.mp4"}
    assert [row.status for row in rows] == ["unchanged", "unchanged"]


def test_libraries_of_different_embedders_are_refused_with_both_names(
    build: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = build("one", {"red.mp4": "red"})
    two = build("two", {"blue.mp4": "blue"}, text_embedder=HashTextEmbedder(32))
    assert run(["merge", str(tmp_path / "all"), str(one), str(two)]) == 1
    said = capsys.readouterr().err
    for folder in (one, two):
        assert str(folder) in said
    assert "text embedder" in said
    assert said.count("hash") >= 2
    assert not (tmp_path / "all").exists()


def test_a_missing_shard_and_the_target_itself_are_usage_errors(
    build: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = build("one", {"red.mp4": "red"})
    assert run(["merge", str(one), str(tmp_path / "none")]) == 2
    assert "no library in" in capsys.readouterr().err
    assert run(["merge", str(one), str(one)]) == 2
    assert "another library" in capsys.readouterr().err


def test_a_search_of_several_libraries_ranks_them_as_one(
    build: Callable[..., Path],
    models: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "x").mkdir()
    one = build("one", {"a.mp4": "red", "b.mp4": "blue"})
    two = build("two", {"x/a.mp4": "green"})
    odd = build("odd", {"b.mp4": "blue"}, text_embedder=HashTextEmbedder(32))

    class Opened:
        @staticmethod
        def open(path: Path, **options: Any) -> Library:
            return Library.open(path, models=models, **options)

    monkeypatch.setattr("fdvs.pipelines.cli.options.library_class", lambda: Opened)

    def search(*arguments: str, code: int = 0) -> Any:
        assert run(["search", "wall painted", *arguments, "--json"]) == code
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    both = ["-l", str(one), "-l", str(two)]
    found = search(*both)["moments"]
    assert {moment["name"] for moment in found} == {"one/a.mp4", "two/a.mp4", "b.mp4"}
    paths = {moment["name"]: moment["path"] for moment in found}
    assert paths["two/a.mp4"] == str(tmp_path / "x" / "a.mp4")
    alone = search("-l", str(one))["moments"]
    assert {moment["name"] for moment in alone} == {"a.mp4", "b.mp4"}
    assert {m["name"] for m in search(*both, "--video", "b.mp4")["moments"]} == {"b.mp4"}
    assert "no video" in search(*both, "--video", "c.mp4", code=2)["error"]
    assert "--library once" in search(*both, "--videos", code=2)["error"]
    said = search("-l", str(one), "-l", str(odd), code=1)["error"]
    assert str(one) in said
    assert str(odd) in said
    monkeypatch.setenv("FDVS_LIBRARY", str(two))
    assert {moment["name"] for moment in search()["moments"]} == {"a.mp4"}

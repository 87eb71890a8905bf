"""`fdvs list`, `story`, `search`, `remove`: what people and programs get."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.pipelines.cli import main as cli
from fdvs.search.filters import Filters


def test_the_list_shows_failed_files_with_their_reason(
    library: Any, make: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["videos"] = [
        make.row(),
        make.row(name="half.mp4", video_id="v2", status="partial", reason="3 of 4 clips"),
        make.row(name="bad.mp4", video_id=None, status="failed", reason="text", duration_s=None),
    ]
    assert cli.run(["list"]) == 0
    out = capsys.readouterr().out
    for text in ("film.mp4", "0:40", "10/24", "half.mp4 (partial)", "3 of 4 clips"):
        assert text in out
    assert "failed  bad.mp4  text" in out
    assert "2 videos, 1 failed" in out


def test_an_empty_library_says_how_to_build(
    library: Any, capsys: pytest.CaptureFixture[str], last_json: Callable[..., Any]
) -> None:
    library.results["videos"] = []
    assert cli.run(["list"]) == 0
    assert "fdvs build PATH" in capsys.readouterr().out
    assert last_json("list") == (0, [])


def test_a_story_cites_runs_of_clips(library: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["story", "v1", "--chapters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "film.mp4  0:40, 4 clips, 3 chapters kept, 2 scenes"
    assert lines[1] == "  All [red]of[/red] it."
    assert lines[2] == "  [film.mp4 @ 0:00-0:20] [film.mp4 @ 0:30-0:40]"
    assert "Scene 2  [film.mp4 @ 0:30-0:40]" in lines
    assert "    Chapter 3." in lines
    assert lines[-1] == "story: extractive"


def test_the_json_of_a_story_is_equal_for_equal_content(
    library: Any, make: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["story", "film.mp4", "--json"]) == 0
    first = capsys.readouterr().out
    library.results["videos"] = [make.row(name="moved.mp4", path="/elsewhere/moved.mp4")]
    assert cli.run(["story", "v1", "--json", "--library", "other"]) == 0
    assert capsys.readouterr().out == first
    assert "/films" not in first


def test_search_passes_its_options_and_shows_what_matched(
    library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["search", "a rabbit", "-n", "3", "--min-score", "0.5", "--video", "film.mp4"]
    argv += ["--video", "b", "--offset", "6", "--time", "1:00-", "--source", "speech,screen"]
    assert cli.run([*argv, "--by", "words"]) == 0
    assert library.calls[1] == (
        "search",
        ("a rabbit", {
            "num": 3, "offset": 6, "min_score": 0.5, "videos": ["film.mp4", "b"], "start_s": 60.0,
            "end_s": None, "sources": ["speech", "screen"], "matched_by": ["words"],
        }),
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "[film.mp4 @ 1:00:00-1:01:02]  0.625  by meaning (0.43) and words"
    assert lines[1] == "  A rabbit [i]sits[/i] :rabbit:."


@pytest.mark.parametrize("kind", [[], ["--videos"]])
def test_a_search_without_results_says_so_and_exits_0(
    kind: list[str], library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    library.results |= {"search": [], "search_videos": []}
    assert cli.run(["search", "a [b]dog[/b]", *kind]) == 0
    out = capsys.readouterr().out
    assert "0.2" in out
    assert "a [b]dog[/b]" in out


def test_where_nothing_fits_the_nearest_is_shown_and_named_as_such(
    capsys: pytest.CaptureFixture[str],
    library: Any,
    make: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    last_json: Any,
) -> None:
    def search(query: str, *, nearest: bool = False, **_: Any) -> Any:
        return [make.moment(score=0.125)] if nearest else []

    monkeypatch.setattr(library, "search", search)
    assert cli.run(["search", "a unicorn"]) == 0
    first, second, *_ = capsys.readouterr().out.splitlines()
    assert first == "nothing fits 'a unicorn' well (no score of 0.2); nearest:"
    assert second.startswith("[film.mp4 @ 1:00:00-1:01:02]  0.125")
    code, value = last_json("search", "a unicorn")
    assert (code, value["moments"], value["nearest"][0]["score"]) == (0, [], 0.125)


def test_search_for_videos_names_the_level_that_won(
    library: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["search", "a rabbit", "--videos", "--num", "2"]) == 0
    asked = {"num": 2, "offset": 0, "min_score": None}
    assert library.calls[1] == ("search_videos", ("a rabbit", asked))
    out = capsys.readouterr().out
    assert "film.mp4  0.750  by its scene (0.50)" in out
    assert "[film.mp4 @ 0:01-0:02]" in out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--time", "2:00-1:00"], "start_s"),
        (["--time", "-"], "START-END"),
        (["--source", "smell"], "smell"),
        (["--by", "luck"], "luck"),
        (["--offset", "-1"], "offset"),
        (["--videos", "--source", "speech"], "--videos"),
    ],
)
def test_a_wrong_limit_is_named(
    argv: list[str], told: str, library: Any, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def search(query: str, *, num: int, offset: int, min_score: float, **limits: Any) -> Any:
        names = {"sources": "sources", "matched_by": "ways"}
        given = {names.get(key, key): value for key, value in limits.items()}
        Filters(**given)
        return []

    monkeypatch.setattr(library, "search", search)
    assert cli.run(["search", "a rabbit", *argv]) == 2
    assert told in capsys.readouterr().err


def test_past_the_last_page_nothing_nearest_is_shown(
    library: Any, last_json: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    library.results["search"] = []
    assert last_json("search", "a rabbit", "--offset", "5") == (
        0, {"query": "a rabbit", "moments": []},
    )  # fmt: skip
    assert cli.run(["search", "a rabbit", "--offset", "5"]) == 0
    assert "no more results after the first 5" in capsys.readouterr().out


def test_found_things_carry_their_citation_in_json(
    library: Any, last_json: Callable[..., Any]
) -> None:
    _, moments = last_json("search", "a rabbit")
    assert moments["query"] == "a rabbit"
    assert moments["moments"][0]["citation"] == "[film.mp4 @ 1:00:00-1:01:02]"
    assert moments["moments"][0]["link"] == "file:///films/film%20%C3%A9.mp4#t=3600,3661.5"
    _, videos = last_json("search", "a rabbit", "--videos")
    assert videos["videos"][0]["level"] == "scene"


def test_remove_says_that_the_file_stays(library: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["remove", "film.mp4"]) == 0
    assert library.calls[1] == ("remove", ("film.mp4",))
    assert "removed film.mp4 (4 clips); the file stays" in capsys.readouterr().out

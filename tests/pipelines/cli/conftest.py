"""A scripted library behind the command line: returns what a test sets, records its calls."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fdvs.config import Config, SearchConfig
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.cli import options
from fdvs.report import BuildReport, BuildRow
from fdvs.types import (
    Answer,
    Chapter,
    Moment,
    Saved,
    Scene,
    Sentence,
    Story,
    VideoHit,
    VideoRow,
)

SAVED = Saved(
    num_clips=3,
    num_frames_sampled=24,
    num_frames_kept=10,
    num_chapters=3,
    num_chapters_kept=2,
    num_captioner_calls=10,
    num_captioner_calls_saved=14,
    captioner_s=2.0,
    seconds_saved=2.8,
)


def a_story() -> Story:
    chapters = tuple(
        Chapter(video_id="v1", index=i, start_s=10.0 * i, end_s=10.0 * i + 10, text=f"Chapter {i}.")
        for i in (0, 1, 3)
    )
    scenes = (
        Scene(
            index=0,
            start_s=0.0,
            end_s=20.0,
            chapters=(0, 1),
            sentences=(Sentence(text="First scene.", clips=(0, 1)),),
        ),
        Scene(
            index=1,
            start_s=30.0,
            end_s=40.0,
            chapters=(3,),
            sentences=(Sentence(text="Second scene.", clips=(3,)),),
        ),
    )
    return Story(
        video_id="v1",
        duration_s=40.0,
        sentences=(Sentence(text="All [red]of[/red] it.", clips=(0, 1, 3)),),
        scenes=scenes,
        chapters=chapters,
        num_clips=4,
        writers={"story": "extractive"},
    )


def a_moment(name: str = "film.mp4", **changes: Any) -> Moment:
    values: dict[str, Any] = {
        "video_id": "v1",
        "name": name,
        "start_s": 3600.0,
        "end_s": 3661.5,
        "score": 0.4321,
        "text": "A rabbit [i]sits[/i] :rabbit:.",
        "clips": (7,),
        "matched_by": ("meaning", "words"),
        "relevance": 0.625,
        "path": "/films/film é.mp4",
    }
    return Moment(**{**values, **changes})


def row(**changes: Any) -> VideoRow:
    values: dict[str, Any] = {
        "name": "film.mp4",
        "video_id": "v1",
        "path": "/films/film.mp4",
        "status": "ok",
        "reason": "",
        "duration_s": 40.0,
        "num_clips": 4,
        "num_chapters": 3,
    }
    return VideoRow(**{**values, **changes})


def build_row(**changes: Any) -> BuildRow:
    values: dict[str, Any] = {
        "path": "/films/film.mp4",
        "name": "film.mp4",
        "video_id": "v1",
        "status": "built",
        "duration_s": 40.0,
        "num_clips": 3,
        "num_clips_computed": 3,
        "seconds": 1.5,
        "saved": SAVED,
    }
    return BuildRow(**{**values, **changes})


def a_report(*rows: BuildRow, **changes: Any) -> BuildReport:
    values: dict[str, Any] = {
        "rows": rows,
        "num_ignored": 0,
        "seconds": 2.0,
        "backends": {"captioner": "tags (offline stand-in)"},
        "saved": SAVED,
    }
    return BuildReport(**{**values, **changes})


class FakeLibrary:
    """Returns `results`, by method; records `calls`."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.config = Config(search=SearchConfig(min_score=0.2))
        self.path = Path("fdvs-library")
        self.closed = False
        self.results: dict[str, Any] = {}

    def open(self, path: Any, **values: Any) -> FakeLibrary:
        self.calls.append(("open", (path, values)))
        self._result("open", None)
        return self

    def _result(self, name: str, default: Any, *seen: Any) -> Any:
        if name != "open":
            self.calls.append((name, seen))
        result = self.results.get(name, default)
        if isinstance(result, BaseException):
            raise result
        return result

    def __enter__(self) -> FakeLibrary:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def build(self, paths: Any, *, progress: Any, wait: bool, **given: Any) -> Any:
        for event in self.results.get("events", ()):
            progress(event)
        sys.stdout.write("a package prints this by accident\n")
        more = [given] if given else []
        return self._result("build", a_report(build_row()), paths, wait, *more)

    def videos(self) -> Any:
        return self._result("videos", [row()])

    def saved(self) -> Any:
        return self._result("saved", {"film.mp4": SAVED})

    def story(self, video: str) -> Any:
        return self._result("story", a_story(), video)

    def search(self, query: str, **values: Any) -> Any:
        return self._result("search", [a_moment()], query, values)

    def search_videos(self, query: str, **values: Any) -> Any:
        hit = VideoHit(
            video_id="v1",
            name="film.mp4",
            score=0.5,
            level="scene",
            text="A scene.",
            start_s=1.0,
            end_s=2.0,
            relevance=0.75,
        )
        return self._result("search_videos", [hit], query, values)

    def ask(self, question: str, **values: Any) -> Any:
        answer = Answer(
            question=question,
            text="It is [b]red[/b].",
            evidence=(a_moment(),),
            backend="smollm2-135m",
            attention="dga: eager",
            num_prompt_tokens=100,
            num_answer_tokens=5,
            seconds=1.25,
        )
        return self._result("ask", answer, question, values)

    def remove(self, video: str) -> Any:
        return self._result("remove", row(), video)


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeLibrary:
    """A scripted library, in a folder of its own where `films` exists."""
    fake = FakeLibrary()
    (tmp_path / "films").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(options, "library_class", lambda: fake)
    monkeypatch.delenv("FDVS_LIBRARY", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    return fake


@pytest.fixture(autouse=True)
def _same_logging() -> Iterator[None]:
    """The command line sets up logging: undo it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def last_json(capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Run a command with --json; return (exit code, the object on the last line of stdout)."""

    def call(*argv: str) -> tuple[int, Any]:
        code = cli.run([*argv, "--json"])
        out = capsys.readouterr().out
        assert out.endswith("\n")
        lines = out.splitlines()
        assert len(lines) == 1, out
        return code, json.loads(lines[-1])

    return call


@pytest.fixture
def make() -> SimpleNamespace:
    """Makers of results: `make.row(name=...)`, `make.build_row`, `make.report`, `make.moment`."""
    return SimpleNamespace(row=row, build_row=build_row, report=a_report, moment=a_moment)

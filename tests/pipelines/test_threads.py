"""A library in several threads, and beside another process that changes it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import AskConfig, Config, PerceiveConfig
from fdvs.errors import StoreError
from fdvs.pipelines.library import Library

CONFIG = Config(
    perceive=PerceiveConfig(sources=("subtitles",)), ask=AskConfig(answerer="evidence", min_fit=-1)
)


@pytest.fixture
def films(tmp_path: Path, make_film: Callable[..., Path]) -> Path:
    folder = tmp_path / "films"
    folder.mkdir()
    for name, colour, said in (
        ("one", "red", "A fox digs a hole."), ("two", "blue", "A rabbit eats grass."),
    ):  # fmt: skip
        make_film(folder / f"{name}.mp4", [(colour, 2.0)])
        text = f"1\n00:00:00,100 --> 00:00:01,500\n{said}\n"
        (folder / f"{name}.srt").write_text(text, "utf-8")
    return folder


def test_many_threads_get_the_same_results(
    films: Path, tmp_path: Path, models: dict[str, Any]
) -> None:
    with Library.open(tmp_path / "library", config=CONFIG, models=models) as library:
        library.build([films])

        def work(number: int) -> tuple[object, ...]:
            return (
                library.search("fox hole"),
                library.ask("What does the rabbit eat?").text,
                [row.name for row in library.videos()],
                library.story("one.mp4").text,
            )

        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(work, range(24)))
        assert all(one == found[0] for one in found)
        assert found[0][1].startswith("“A rabbit eats grass.”")


def test_a_closed_library_is_closed_for_every_thread(
    tmp_path: Path, models: dict[str, Any]
) -> None:
    library = Library.open(tmp_path / "library", config=CONFIG, models=models)
    library.close()
    caught: list[BaseException] = []

    def read() -> None:
        try:
            library.videos()
        except StoreError as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    thread.join()
    assert "is closed" in str(caught[0])


def test_what_another_process_removes_is_not_found_any_more(
    films: Path, tmp_path: Path, models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fdvs.pipelines.library.REST", 0)
    with Library.open(tmp_path / "library", config=CONFIG, models=models) as library:
        library.build([films])
        assert {m.name for m in library.search("fox hole")} == {"one.mp4"}
        assert not library.refresh()
        remove = (
            "import sys; from fdvs.pipelines.cli.main import run;"
            f"sys.exit(run(['remove', 'one.mp4', '-l', {str(library.path)!r}]))"
        )
        subprocess.run([sys.executable, "-c", remove], check=True, capture_output=True)
        assert "one.mp4" not in {m.name for m in library.search("fox hole", min_score=-1)}
        assert [row.name for row in library.videos()] == ["two.mp4"]

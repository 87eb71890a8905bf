"""Questions and searches of a library are stopped, and the next one is answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import AskConfig, Config
from fdvs.errors import Stopped
from fdvs.models.scripted import ScriptedLanguageModel
from fdvs.pipelines.library import Library
from fdvs.stopping import check_stop


@pytest.fixture
def library(tmp_path: Path, make_film: Callable[..., Path], models: dict[str, Any]) -> Library:
    make_film(tmp_path / "one.mp4", [("red", 2.0), ("green", 2.0)])
    config = Config(ask=AskConfig(answerer="llm", min_fit=-1))
    opened = Library.open(tmp_path / "library", config=config, models=models)
    opened.build([tmp_path / "one.mp4"])
    return opened


class Slow(ScriptedLanguageModel):
    """Writes for ever, and looks up between its words, as the real ones do."""

    def write(self, *values: Any, **named: Any) -> Any:
        self.began = threading.Event() if not hasattr(self, "began") else self.began
        self.began.set()
        while True:
            check_stop()
            time.sleep(0.01)


def test_a_question_is_stopped_while_it_is_written_or_waits(library: Library) -> None:
    slow = Slow(lambda system, user: "")
    slow.began = threading.Event()
    stop, waits = threading.Event(), threading.Event()
    ended: dict[str, BaseException] = {}

    def ask(name: str, event: threading.Event) -> None:
        try:
            library.ask("Which colour has the wall?", writer=slow, stop=event)
        except BaseException as error:
            ended[name] = error

    threads = [threading.Thread(target=ask, args=one) for one in (("first", stop), ("next", waits))]
    threads[0].start()
    assert slow.began.wait(30)
    threads[1].start()
    waits.set()
    threads[1].join(10)
    assert type(ended.pop("next")) is Stopped
    assert not ended
    stop.set()
    threads[0].join(10)
    assert type(ended["first"]) is Stopped
    assert library.ask("Which colour has the wall?", stop=lambda: False).text


def test_a_search_is_stopped(library: Library) -> None:
    with pytest.raises(Stopped):
        library.search("red wall", stop=lambda: True)
    assert library.search("red wall", stop=lambda: False)


def test_what_on_text_wants_to_stop_is_stopped(library: Library) -> None:
    def enough(text: str) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        library.ask("Which colour has the wall?", on_text=enough)

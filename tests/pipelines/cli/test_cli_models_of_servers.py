"""`--captioner` and `--llm` name servers for a build and a question, and are remembered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.models.endpoint import dialects
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.cli import options
from fdvs.pipelines.library import Library


class WithoutWeights(Library):
    """A library whose embedders need no weights; captioner and language model are the settings'."""

    @classmethod
    def open(cls, path: Any, **more: Any) -> Library:
        own = {"image_embedder": GridImageEmbedder(), "text_embedder": HashTextEmbedder()}
        return Library.open(path, **{**more, "models": own})


def test_a_named_captioner_describes_and_is_remembered(
    tmp_path: Path, make_film: Callable[..., Path], chat_server: Any,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    url = chat_server.target.partition("#")[0]
    monkeypatch.setitem(dialects.DIALECTS, "vllm", dialects.Dialect(name="vllm", base_url=url))
    monkeypatch.setattr(options, "library_class", lambda: WithoutWeights)
    film, library = make_film(tmp_path / "film.mp4", [("red", 1.0)]), str(tmp_path / "library")
    chat_server.default = chat_server.says("A red wall stands there.")
    build = ["build", str(film), "-l", library, "--without", "speech,ocr,subtitles"]
    assert cli.run([*build, "--captioner", "vllm:it", "--llm", "vllm:other"]) == 0
    with WithoutWeights.open(library) as opened:
        assert opened.config.perceive.captioner == "vllm:it"
        assert opened.config.models.llm == "vllm:other"
        assert opened.config.ask.answerer == "combined"
        assert "A red wall stands there." in opened.story("film.mp4").text
    capsys.readouterr()
    num_asked = len(chat_server.asked)
    assert cli.run(["ask", "What stands there?", "-l", library, "--llm", "vllm:third"]) == 0
    assert "A red wall stands there." in capsys.readouterr().out
    assert [body["model"] for body in chat_server.asked[num_asked:]] == ["vllm:third"[5:]]

"""Films built with imitated model servers: a made picture first, then what a report says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.config import Config, CutConfig, ModelsConfig, PerceiveConfig, RoleOptions, ServerOptions
from fdvs.errors import ModelUnavailable
from fdvs.models.describe.trial import PICTURE, made_picture
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.library import Library
from fdvs.report import BuildReport

from ...dialect_server import COLOURS, DialectServer

SHOTS = [("red", 2), ("green", 2), ("blue", 2)]


@pytest.fixture
def film(tmp_path: Path, make_film: Callable[..., Path]) -> Path:
    return make_film(tmp_path / "film.mp4", SHOTS)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fdvs.models.endpoint.client.ChatClient._pause_s", lambda *_: 0.02)


def build(
    tmp_path: Path,
    film: Path,
    models: dict[str, Any],
    spec: str,
    cut: CutConfig | None = None,
    **perceive: Any,
) -> tuple[BuildReport, str]:
    """Return the report and the story of a library, built with the captioner of a spec."""
    given = {name: model for name, model in models.items() if name != "captioner"}
    options = RoleOptions(captioner=ServerOptions(timeout_s=0.4))
    config = Config(
        perceive=PerceiveConfig(captioner=spec, **perceive),
        models=ModelsConfig(options=options),
        cut=cut or CutConfig(),
    )
    with Library.open(tmp_path / "library", config=config, models=given) as library:
        report = library.build([film])
        return report, library.story(film.name).text


def num_pictures(body: dict[str, Any]) -> int:
    (message,) = body["messages"]
    parts = message["content"] if isinstance(message["content"], list) else []
    return len(message.get("images", [])) + sum(part["type"] == "image_url" for part in parts)


def test_the_made_picture_is_what_its_description_says() -> None:
    assert PICTURE == "a red disc on a white ground"
    picture = made_picture()
    assert picture.shape == (448, 448, 3)
    assert tuple(picture[224, 224]) == (220, 20, 30)
    assert tuple(picture[0, 0]) == tuple(picture[447, 447]) == (255, 255, 255)
    share = (picture[..., 1] == 20).mean()
    assert share == pytest.approx(3.14159 * 0.36**2, abs=0.002)


def test_a_build_asks_about_one_made_picture_and_then_about_the_film(
    tmp_path: Path, film: Path, models: dict[str, Any], dialect_server: DialectServer
) -> None:
    _, story = build(tmp_path, film, models, "ollama:good")
    assert all(f"I see {colour}" in story for colour, _ in SHOTS)
    assert len(dialect_server.bodies) == 1 + len(SHOTS)


def test_nobody_is_asked_where_no_film_needs_captions(
    tmp_path: Path, film: Path, models: dict[str, Any], dialect_server: DialectServer
) -> None:
    build(tmp_path, film, models, "ollama:good")
    num_asked = len(dialect_server.bodies)
    build(tmp_path, film, models, "ollama:good")  # unchanged
    build(tmp_path, film, models, "ollama:good", sources=("subtitles",))  # only another source
    assert len(dialect_server.bodies) == num_asked


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("ollama:no-eyes", "image input"),
        ("sglang:no-eyes", "saw no pictures"),
        ("vllm:refuses", "refused to describe"),
        ("openai:null", "instruct"),
        ("mistral:no-memory", "Service unavailable"),
        ("vllm:drip", "no whole answer"),
        ("endpoint:http://127.0.0.1:9#gone", "is the server running"),
    ],
)
def test_a_captioner_that_cannot_be_used_ends_a_build_before_any_film_is_read(
    tmp_path: Path, film: Path, models: dict[str, Any], dialect_server: DialectServer, spec: str,
    words: str,
) -> None:  # fmt: skip
    with pytest.raises(ModelUnavailable, match=words) as caught:
        build(tmp_path, film, models, spec)
    assert "one made picture before any film is read" in str(caught.value)
    assert all(num_pictures(body) == 1 for body in dialect_server.bodies)
    with Library.open(tmp_path / "library", models=models) as library:
        assert library.videos() == []


def test_the_model_is_asked_again_by_the_next_build_after_a_failure(
    tmp_path: Path, film: Path, models: dict[str, Any], dialect_server: DialectServer
) -> None:
    with pytest.raises(ModelUnavailable):
        build(tmp_path, film, models, "ollama:no-eyes")
    report, _ = build(tmp_path, film, models, "ollama:good")
    assert [row.status for row in report.rows] == ["built"]


def test_an_own_captioner_is_asked_first_where_it_wants_that(
    tmp_path: Path, film: Path, models: dict[str, Any]
) -> None:
    seen: list[tuple[int, ...]] = []

    class Wanting(type(models["captioner"])):  # type: ignore[misc]
        tried_first = True

        def describe(self, clips: Any) -> Any:
            seen.extend(view.frames[0].image.shape for view in clips)
            return super().describe(clips)

    own = models["captioner"]
    own.__class__ = Wanting
    with Library.open(tmp_path / "library", models=models) as library:
        library.build([film])
    assert seen[0] == (448, 448, 3)
    assert seen[1:] == [(48, 64, 3)] * len(SHOTS)


def test_the_doctor_tries_a_captioner_and_prints_the_line_to_copy(
    capsys: pytest.CaptureFixture[str], dialect_server: DialectServer, tmp_path: Path
) -> None:
    at = ["--library", str(tmp_path / "none")]
    assert cli.run(["doctor", "--try", "ollama:good", *at]) == 0
    out = capsys.readouterr().out
    assert "I see red." in out
    assert "fdvs build FOLDER --captioner ollama:good" in out
    assert cli.run(["doctor", "--try", "vllm:good", "--json", *at]) == 0
    value = json.loads(capsys.readouterr().out)
    assert (value["text"], value["picture"]) == ("I see red.", PICTURE)
    assert value["line"] == "fdvs build FOLDER --captioner vllm:good"
    assert cli.run(["doctor", "--try", "llamacpp:no-eyes", *at]) == 2
    assert "mmproj" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("spec", "num_parts"),
    [
        ("ollama:think", 1), ("vllm:think", 1), ("mistral:think", 1), ("openai:loops", 1),
        ("llamacpp:slow-load", 1), ("lmstudio:parts", 1), ("gemini:cut", 1), ("vllm:429", 1),
        ("ollama:too-long", 3), ("vllm:one-image", 3), ("openai:one-image", 3),
    ],
)  # fmt: skip
def test_what_a_server_does_wrong_costs_a_film_no_caption(
    tmp_path: Path, film: Path, models: dict[str, Any], dialect_server: DialectServer, spec: str,
    num_parts: int,
) -> None:  # fmt: skip
    """One clip of three colours: each is told, in order, and nothing else."""
    cut = CutConfig(method="fixed", fixed_clip_s=6.0)
    report, story = build(tmp_path, film, models, spec, cut)
    (row,) = report.rows
    assert (row.status, row.missing, row.warnings, row.num_clips) == ("built", (), (), 1)
    words = re.findall(r"[a-z]+", story.lower())
    assert [word for word in words if word in COLOURS] == [colour for colour, _ in SHOTS], story
    assert set(words) == {"i", "see", *COLOURS}, story
    assert story.count("I see") == num_parts

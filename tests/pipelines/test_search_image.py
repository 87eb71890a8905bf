"""Search by an example picture: a frame of a film finds that film, at that time."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from fdvs.config import Config, PerceiveConfig
from fdvs.errors import InvalidValue, StoreError
from fdvs.models.scripted import GridImageEmbedder
from fdvs.pipelines.cli import main as cli
from fdvs.pipelines.library import Library

NUM_FILMS, NUM_SHOTS, SHOT_S, FPS = 3, 3, 2.0, 5
SIZE = (160, 120)


def picture(film: int, shot: int) -> Image.Image:
    """A picture like no other: blocks of random brightness, fixed for film and shot."""
    rng = np.random.default_rng(100 * film + shot)
    blocks = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
    drawn = Image.fromarray(blocks).resize(SIZE, Image.Resampling.NEAREST)
    ImageDraw.Draw(drawn).ellipse((20 + 10 * shot, 30, 90 + 10 * shot, 80), fill=(255, 255, 255))
    return drawn


def write_film(path: Path, film: int) -> None:
    import av

    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=FPS)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.gop_size = int(SHOT_S * FPS)
        for shot in range(NUM_SHOTS):
            frame = av.VideoFrame.from_image(picture(film, shot))
            for number in range(int(SHOT_S * FPS)):
                frame.pts = int(shot * SHOT_S * FPS) + number
                out.mux(stream.encode(frame))
        out.mux(stream.encode())


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("films")
    for film in range(NUM_FILMS):
        write_film(folder / f"{film}.mp4", film)
    return folder


@pytest.fixture
def library(films: Path, tmp_path: Path, models: dict[str, Any]) -> Iterator[Library]:
    config = Config(perceive=PerceiveConfig())
    with Library.open(tmp_path / "library", config=config, models=models) as opened:
        assert opened.build([films]).exit_code == 0
        yield opened


def encoded(shown: Image.Image, kind: str = "PNG", **more: Any) -> bytes:
    out = io.BytesIO()
    shown.save(out, kind, **more)
    return out.getvalue()


def cropped(shown: Image.Image) -> Image.Image:
    """Without five percent on each side."""
    width, height = shown.size
    return shown.crop((width // 20, height // 20, width - width // 20, height - height // 20))


CHANGES: dict[str, Callable[[Image.Image], bytes]] = {
    "whole": encoded,
    "smaller": lambda one: encoded(one.resize((96, 72))),
    "larger": lambda one: encoded(one.resize((800, 600)), "WEBP"),
    "cropped by 10 %": lambda one: encoded(cropped(one)),
    "JPEG of quality 50": lambda one: encoded(one, "JPEG", quality=50),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_frame_finds_its_film_and_time(change: str, library: Library) -> None:
    for film in range(NUM_FILMS):
        for shot in range(NUM_SHOTS):
            found = library.search(image=CHANGES[change](picture(film, shot)))
            assert found[0].name == f"{film}.mp4"
            assert found[0].start_s <= (shot + 0.5) * SHOT_S < found[0].end_s
            assert (found[0].matched_by, found[0].relevance) == (("looks",), 1.0)
            assert found[0].score == found[0].picture_score


def test_limits_pages_and_the_bound(library: Library) -> None:
    data = encoded(picture(1, 1))
    everything = library.search(image=data, min_score=-1.0, num=100)
    pages = [library.search(image=data, min_score=-1.0, num=2, offset=i) for i in range(0, 10, 2)]
    assert [one for page in pages for one in page] == everything
    assert [m.relevance for m in everything] == sorted(
        (m.relevance or 0.0 for m in everything), reverse=True
    )
    assert {m.name for m in library.search(image=data, video="2.mp4", nearest=True)} == {"2.mp4"}
    late = library.search(image=data, videos=["1.mp4"], start_s=4.0, nearest=True)
    assert all(m.end_s > 4.0 for m in late)
    assert library.search(image=data, min_score=1.0, video="0.mp4") == []
    assert library.search(image=data, sources=["speech"], nearest=True) == []


def test_what_cannot_be_searched_for_is_named(library: Library, tmp_path: Path) -> None:
    with pytest.raises(InvalidValue, match="beside an example picture"):
        library.search("a wall", image=encoded(picture(0, 0)))
    with pytest.raises(InvalidValue, match=r"none\.png"):
        library.search(image=tmp_path / "none.png")
    with pytest.raises(InvalidValue, match="PNG, JPEG or WebP"):
        library.search(image=b"no picture")


def test_vectors_of_another_encoder_are_not_compared(
    library: Library, models: dict[str, Any]
) -> None:
    other = {**models, "image_embedder": GridImageEmbedder(4)}
    with (
        Library.open(library.path, models=other) as opened,
        pytest.raises(StoreError, match=r"another picture encoder.*fdvs build PATH"),
    ):
        opened.search(image=encoded(picture(0, 0)))


def test_a_library_whose_vectors_are_gone_says_what_to_do(library: Library) -> None:
    import sqlite3

    with sqlite3.connect(library.path / "library.sqlite") as database:
        database.execute("DELETE FROM artifacts WHERE stage = 'frames'")
    with pytest.raises(StoreError, match=r"no vectors of frames.*fdvs build PATH"):
        library.search(image=encoded(picture(0, 0)))


def test_rest_and_the_command_line_give_the_same_bytes(
    library: Library,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    give_to_command_line: Callable[[Library], None],
) -> None:
    testclient = pytest.importorskip("fastapi.testclient")
    from fdvs.pipelines.serve.api import MAX_BYTES
    from fdvs.pipelines.serve.app import make_app

    give_to_command_line(library)
    data = encoded(picture(2, 1), "JPEG", quality=50)
    (tmp_path / "shown é.jpg").write_bytes(data)
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    line = ["search", "--image", str(tmp_path / "shown é.jpg"), "--num", "2", "--json"]
    assert cli.run(line) == 0
    place = "/api/v1/search/image"
    with testclient.TestClient(make_app(library), base_url="http://127.0.0.1:8765") as client:
        answer = client.post(place, params={"num": 2}, content=data)
        assert answer.text == out.getvalue()
        assert json.loads(answer.text)["moments"][0]["name"] == "2.mp4"
        for wrong in (b"", b"<svg/>", b"x" * (MAX_BYTES + 1)):
            refused = client.post(place, content=wrong)
            assert refused.status_code == 422
            assert refused.json()["type"] == "urn:fdvs:problem:InvalidValue"


@pytest.mark.parametrize("line", [["search"], ["search", "fox", "--image", "a.png"]])
def test_a_search_is_for_words_or_for_a_picture(
    line: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(line) == 2
    assert "--image FILE" in capsys.readouterr().err

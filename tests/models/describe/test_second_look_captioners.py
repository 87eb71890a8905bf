"""The second look of real captioners: pictures and question arrive, and what may go wrong does.

A tiny random checkpoint of each family for the local one, an HTTP server on this machine for the
endpoint; then `fdvs ask --look` from a film to the reply.
"""

from __future__ import annotations

import base64
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.answers.second_look import second_look
from fdvs.errors import BadModelOutput, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.describe.vlm import TransformersCaptioner
from fdvs.models.endpoint.endpoint import EndpointCaptioner
from fdvs.models.scripted import GridImageEmbedder, HashTextEmbedder, ScriptedLanguageModel
from fdvs.protocols import SecondLookCaptioner
from fdvs.types import Citation, Clip, ClipView, Frame

CPU = LoadSettings(device="cpu", dtype="float32")
ASKED = "is a red dog on the road"
CHAT = ("smolvlm", "qwen2_vl", "qwen3_vl")


def view(color: int, *, num_frames: int = 2, index: int = 0) -> ClipView:
    noise = np.random.default_rng(color)
    frames = tuple(
        Frame(
            time_s=index * 10.0 + t,
            image=(noise.random((48, 64, 3)) * 20 + color).clip(0, 255).astype(np.uint8),
        )
        for t in range(num_frames)
    )
    clip = Clip(video_id="v", index=index, start_s=index * 10.0, end_s=index * 10.0 + 10)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


# -- a local model -----------------------------------------------------------------------------


def local(folder: Path, **options: Any) -> TransformersCaptioner:
    options = {"max_new_tokens": 8, **options}
    card = Card(
        name="tiny", role="captioner", backend="transformers", target=str(folder), options=options
    )
    return TransformersCaptioner.load(card, CPU)


def asked_of(captioner: TransformersCaptioner, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Remember the words that the model is given, as its tokenizer reads them."""
    generate, prompts = captioner.model.generate, []

    def remember(**inputs: Any) -> Any:
        prompts.extend(captioner.processor.tokenizer.batch_decode(inputs["input_ids"]))
        return generate(**inputs)

    monkeypatch.setattr(captioner.model, "generate", remember)
    return prompts


@pytest.mark.parametrize("family", [*CHAT, "blip2_opt"])
def test_a_local_model_is_given_the_question_and_the_pictures(
    checkpoint: Callable[[str], Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = local(checkpoint(family))
    assert isinstance(captioner, SecondLookCaptioner)
    prompts = asked_of(captioner, monkeypatch)
    dark, bright = view(20), view(200, index=1)
    replies = captioner.look([dark, bright], ASKED)
    assert len(replies) == len(prompts) == 2
    assert all("red dog on the road" in prompt for prompt in prompts)
    assert captioner.look([bright], ASKED) == replies[1:]
    assert replies[0] != replies[1]  # the same question: only the pictures differ
    for reply in replies:
        assert reply
        assert not set("<>|") & set(reply)


@pytest.mark.parametrize("family", CHAT)
def test_a_chat_model_sees_every_frame_of_the_clip(
    checkpoint: Callable[[str], Path], family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    captioner = local(checkpoint(family))
    prompts = asked_of(captioner, monkeypatch)
    captioner.look([view(20, num_frames=1), view(20, num_frames=3)], ASKED)
    tokens = ("<image>", "<|image_pad|>", "<|video_pad|>")
    one, three = (sum(map(prompt.count, tokens)) for prompt in prompts)
    assert one > 0
    assert three > 0
    assert three % 3 == 0


def test_another_question_gets_another_reply(checkpoint: Callable[[str], Path]) -> None:
    captioner = local(checkpoint("qwen2_vl"))
    first, again, other = (
        captioner.look([view(90)], asked)[0]
        for asked in (ASKED, ASKED, "two three small blue car house sky water")
    )
    assert first == again != other


def test_a_local_model_that_fails_or_says_nothing_is_an_error(
    checkpoint: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    captioner = local(checkpoint("smolvlm"))
    monkeypatch.setattr(captioner.model, "generate", lambda **_: torch.tensor([[1, 2, 0]]))
    with pytest.raises(BadModelOutput, match="described nothing"):
        captioner.look([view(1)], ASKED)

    def fail(**inputs: Any) -> Any:
        raise RuntimeError("CUDA out of memory")

    monkeypatch.setattr(captioner.model, "generate", fail)
    with pytest.raises(ModelError, match="out of memory"):
        captioner.look([view(1)], ASKED)


# -- an endpoint -------------------------------------------------------------------------------


def remote(server: Any, **options: Any) -> EndpointCaptioner:
    options = {"concurrency": 1, "backoff_s": 0.01, **options}
    card = Card(
        name="it", role="captioner", backend="endpoint", target=server.target, options=options
    )
    return EndpointCaptioner.load(card, LoadSettings())


@pytest.fixture
def server(chat_server: Any) -> Any:
    chat_server.default = chat_server.says("A dog.")
    return chat_server


def test_an_endpoint_is_sent_the_question_with_every_picture_of_the_clip(server: Any) -> None:
    from PIL import Image

    server.queue = [server.says("<think>hm</think>A red dog."), server.says("Nothing there.")]
    captioner = remote(server)
    assert isinstance(captioner, SecondLookCaptioner)
    views = [view(200, num_frames=3), view(30, num_frames=1, index=1)]
    assert captioner.look(views, ASKED) == ["A red dog.", "Nothing there."]
    for body, level, num in zip(server.asked, (210, 40), (3, 1), strict=True):
        *parts, words = body["messages"][0]["content"]
        pictures = [part for part in parts if part["type"] == "image_url"]
        assert words["type"] == "text"
        assert words["text"].endswith(f"The question: {ASKED}")
        assert len(pictures) == num
        for picture in pictures:
            data = picture["image_url"]["url"].removeprefix("data:image/jpeg;base64,")
            image = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
            assert image.shape == (48, 64, 3)
            assert abs(float(image.mean()) - level) < 5


def test_a_busy_endpoint_is_asked_again(server: Any) -> None:
    server.queue = [server.sends(b"slow down", 429), server.sends(b"", 503)]
    captioner = remote(server)
    assert captioner.look([view(1)], ASKED) == ["A dog."]
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"<html>busy</html>", "not a chat completion"),
        (b'{"choices": [{"message": {"content": null}}]}', "without text"),
        (
            b'{"choices": [{"message": {"content": "<think>well"}, "finish_reason": "stop"}]}',
            "described nothing",
        ),
        (b"x" * 100_000, "larger than 20000 bytes"),
    ],
    ids=["html", "null", "no words", "huge"],
)
def test_a_useless_reply_is_bad_output_and_only_its_clip_goes_without(
    server: Any, body: bytes, why: str
) -> None:
    captioner = remote(server, max_reply_bytes=20_000)
    num_asked = 2 if b"think" in body else 1  # thoughts alone: once more, with more tokens
    server.queue = [server.sends(body)] * num_asked
    with pytest.raises(BadModelOutput, match=why):
        captioner.look([view(1)], ASKED)
    server.queue = [server.sends(body)] * num_asked
    cited = [
        Citation(video_id="v", name="v.mp4", start_s=s, end_s=s + 10, support=1.0) for s in (0, 10)
    ]
    looks, notes = second_look(ASKED, cited, lambda one: view(int(one.start_s)), captioner)
    assert [(look.text, look.citations) for look in looks] == [("A dog.", (cited[1],))]
    assert why in notes[0]
    assert len(notes[0]) < 1000


def test_a_refused_key_stops_the_look_and_an_endless_reply_is_cut(server: Any) -> None:
    server.queue = [server.sends(status=401)]
    with pytest.raises(ModelUnavailable, match="FDVS_API_KEY"):
        remote(server).look([view(1)], ASKED)
    server.queue = [server.says("A dog runs. " * 10_000)]
    (reply,) = remote(server).look([view(1)], ASKED)
    assert len(reply) <= 2000


# -- from a film to the reply ------------------------------------------------------------------


@pytest.mark.parametrize("family", ["smolvlm", "qwen2_vl"])
def test_ask_look_shows_the_cited_clips_of_a_film_to_the_local_captioner(
    checkpoint: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    family: str,
) -> None:
    from fdvs.config import AskConfig, Config
    from fdvs.pipelines.cli import main as cli
    from fdvs.pipelines.cli import options as cli_common
    from fdvs.pipelines.library import Library

    film = _film(tmp_path / "film.mp4")
    captioner = local(checkpoint(family))
    models: dict[str, Any] = {
        "image_embedder": GridImageEmbedder(),
        "text_embedder": HashTextEmbedder(),
        "captioner": captioner,
        "llm": ScriptedLanguageModel([]),
    }
    config = Config(ask=AskConfig(answerer="evidence", min_fit=-1))
    place = tmp_path / "library"
    with Library.open(place, config=config, models=models) as library:
        library.build([film])

    class Opened(Library):
        @classmethod
        def open(cls, path: Any, **more: Any) -> Library:
            return Library.open(path, config=config, models=models)

    monkeypatch.setattr(cli_common, "library_class", lambda: Opened)
    prompts = asked_of(captioner, monkeypatch)
    asked = ["ask", ASKED, "--library", str(place), "--json"]
    assert cli.run(asked) == 0
    plain = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (plain["looks"], prompts) == ([], [])
    assert cli.run([*asked, "--look"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    cited = {one["citation"] for s in found["sentences"] for one in s["citations"]}
    assert found["looks"]
    assert len(prompts) == len(found["looks"])
    assert all("red dog on the road" in prompt for prompt in prompts)
    for look in found["looks"]:
        assert look["text"]
        assert {one["citation"] for one in look["citations"]} <= cited
    assert found["notes"][-1].endswith("not checked")
    assert found["text"] == plain["text"]  # it changes nothing of the answer
    assert cli.run([*asked[:-1], "--look"]) == 0
    assert "second look" in capsys.readouterr().out


def _film(path: Path) -> Path:
    import imageio_ffmpeg

    inputs = []
    for color in ("red", "green", "blue"):
        inputs += ["-f", "lavfi", "-i", f"color={color}:size=64x48:rate=10:duration=3"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *inputs]
    command += ["-filter_complex", "concat=n=3:v=1:a=0", "-force_key_frames", "0,3,6"]
    command += ["-c:v", "libx264", "-g", "1000", "-pix_fmt", "yuv420p", str(path)]
    subprocess.run(command, check=True)
    return path

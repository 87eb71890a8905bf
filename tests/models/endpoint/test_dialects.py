"""A server that imitates the dialects as strict as the originals.

Its captions are the mean colours of the pictures that arrived, in their order; its behaviour goes
by the name of the model.
"""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fdvs.errors import BadModelOutput, ModelError, ModelUnavailable
from fdvs.models.cards import LoadSettings, resolve
from fdvs.models.endpoint import dialects, local_servers
from fdvs.models.endpoint.endpoint import EndpointCaptioner, EndpointLanguageModel
from fdvs.models.weights.fetch import identity_of
from fdvs.types import Clip, ClipView, Frame

SPECS = ("ollama", "lmstudio", "llamacpp", "vllm", "sglang", "openai")
KNOWN = {"model", "messages", "max_tokens", "temperature", "stream"}
COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}


class Handler(BaseHTTPRequestHandler):
    """Answers chats of the dialect named by the first part of the path."""

    def do_POST(self) -> None:
        kind, path = self.path[1:].split("/", 1)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)  # type: ignore[attr-defined]
        wanted = "api/chat" if kind == "ollama" else "v1/chat/completions"
        if path != wanted:
            self.answer(404, {"error": f"no such path {path}"})
        else:
            self.answer(*reply_of(kind, body))

    def do_GET(self) -> None:
        rows = [{"name": "qwen3-vl:4b", "details": {}}, {"name": "llama3.2:1b"}]
        key = "models" if self.path == "/ollama/api/tags" else "data"
        self.answer(200, {key: rows} if "ollama" in self.path else {"data": [{"id": "text-only"}]})

    def answer(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


def reply_of(kind: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Return status and body as a server of this kind would."""
    problem = refusal(kind, body)
    if problem:
        return problem
    model = body["model"]
    limit = (
        body.get("options", {}).get("num_predict")
        or body.get("max_tokens")
        or body.get("max_completion_tokens")
    )
    text = caption(kind, body["messages"][-1])
    thoughts = ""
    if model == "think-tags":
        text = f"Okay, the user wants colours.</think> {text}"
    elif model == "think-apart" and limit < 300:
        text, thoughts = "", "Okay, the user wants " * 20
    elif model == "chatty":
        text = f"Sure! Here is the description:\n\n**{text}**"
    elif model == "loops":
        text = " ".join([text] * 9)
    elif model == "refuses":
        text = "I'm sorry, but I can't assist with describing this image."
    elif model == "error-200":
        return 200, {"error": {"message": "model crashed"}}
    if kind == "ollama":
        message = {"role": "assistant", "content": text}
        return 200, {
            "message": message | ({"thinking": thoughts} if thoughts else {}),
            "done_reason": "stop", "prompt_eval_count": 9, "eval_count": 3,
        }  # fmt: skip
    content: Any = [{"type": "text", "text": text}] if model == "parts" else text or None
    message = {"content": content} | ({"reasoning_content": thoughts} if thoughts else {})
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    return 200, {"choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}


def refusal(kind: str, body: dict[str, Any]) -> tuple[int, Any] | None:
    """Return what a server refuses, as strictly as the real one."""
    if body["model"] == "no-eyes" and "image" in json.dumps(body["messages"]):
        return 500, {"error": {"message": "image input is not supported - hint: give the mmproj"}}
    if body["model"] == "no-memory":
        return 500, {"error": "model requires more system memory (9.1 GiB) than is available"}
    if kind == "ollama":
        if body["think"] is not False or body["options"]["num_ctx"] < dialects.MIN_CONTEXT:
            return 400, {"error": "thinking, or a short context"}
        return None
    if kind == "openai":
        for name in ("max_tokens", "temperature"):
            if name in body:
                return 400, {"error": {"message": f"Unsupported parameter: '{name}'"}}
        known = (KNOWN - {"max_tokens", "temperature"}) | {"max_completion_tokens"}
    else:
        known = KNOWN | (
            {"chat_template_kwargs"} if kind in ("llamacpp", "vllm", "sglang") else set()
        )
    unknown = set(body) - known
    return (400, {"error": f"unknown {unknown}"}) if unknown else None


def caption(kind: str, message: dict[str, Any]) -> str:
    """Name the mean colours of a message's pictures, in order; those in a row are blended."""
    if isinstance(message["content"], str):
        pictures = message.get("images", [])
    else:
        parts = message["content"]
        for one, two in pairwise(parts):
            if one["type"] == two["type"] == "image_url":
                return "A blend of pictures."
        pictures = [p["image_url"]["url"] for p in parts if p["type"] == "image_url"]
        assert all(url.startswith(dialects.DATA_URI) for url in pictures)
        pictures = [url.removeprefix(dialects.DATA_URI) for url in pictures]
    if not pictures:
        return "A written answer."
    return f"I see {', '.join(map(colour, pictures))}."


def colour(encoded: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
        mean = np.asarray(image.convert("RGB")).reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.bodies = []  # type: ignore[attr-defined]
    threading.Thread(target=running.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{running.server_port}"
    for name, one in list(dialects.DIALECTS.items()):
        path = "" if one.is_native else "/v1"
        here = dialects.Dialect(
            name=name, base_url=f"{base}/{name}{path}", extra=one.extra,
            api_key_env=one.api_key_env, is_native=one.is_native,
        )  # fmt: skip
        monkeypatch.setitem(dialects.DIALECTS, name, here)
    yield running
    running.shutdown()
    running.server_close()


def captioner(spec: str) -> EndpointCaptioner:
    return EndpointCaptioner.load(resolve(spec, "captioner"), LoadSettings())


def view(*names: str) -> ClipView:
    frames = tuple(
        Frame(time_s=float(n), image=np.full((24, 32, 3), COLOURS[name], np.uint8))
        for n, name in enumerate(names)
    )
    clip = Clip(video_id="v", index=0, start_s=0.0, end_s=10.0)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


@pytest.mark.parametrize("kind", SPECS)
def test_every_dialect_gets_all_pictures_in_their_order(server: Any, kind: str) -> None:
    (found,) = captioner(f"{kind}:good").describe([view("red", "blue", "green")])
    assert [one.text for one in found] == ["I see red, blue, green."]


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("model", ["think-tags", "think-apart", "chatty", "loops"])
def test_no_thought_no_chat_and_no_loop_becomes_a_caption(
    server: Any, kind: str, model: str
) -> None:
    (found,) = captioner(f"{kind}:{model}").describe([view("red")])
    assert [one.text for one in found] == ["I see red."]


@pytest.mark.parametrize("kind", ["openai", "vllm"])
def test_content_in_parts_is_read(server: Any, kind: str) -> None:
    (found,) = captioner(f"{kind}:parts").describe([view("blue")])
    assert found[0].text == "I see blue."


def test_a_refused_parameter_is_left_out_from_then_on(server: Any) -> None:
    asked = captioner("openai:good")
    asked.describe([view("red")])
    num_first = len(server.bodies)
    asked.describe([view("red")])
    assert (num_first, len(server.bodies)) == (3, 4)
    assert "max_completion_tokens" in server.bodies[-1]
    assert not {"max_tokens", "temperature"} & set(server.bodies[-1])


@pytest.mark.parametrize("kind", SPECS)
@pytest.mark.parametrize("model", ["no-eyes", "no-memory"])
def test_what_no_retry_can_mend_is_told_at_once_in_the_servers_words(
    server: Any, kind: str, model: str
) -> None:
    with pytest.raises(ModelUnavailable, match=r"mmproj|more system memory"):
        captioner(f"{kind}:{model}").describe([view("red")])
    assert len(server.bodies) == 1


def test_a_refusal_and_an_error_with_status_200_are_no_captions(server: Any) -> None:
    with pytest.raises(BadModelOutput, match="refused to describe"):
        captioner("ollama:refuses").describe([view("red")])
    with pytest.raises(ModelError, match="model crashed"):
        captioner("lmstudio:error-200").describe([view("red")])


def test_ollama_gets_the_context_that_was_asked_for(server: Any) -> None:
    model = EndpointLanguageModel.load(resolve("ollama:good", "llm"), LoadSettings())
    written = model.write("Be brief.", "Say something.", max_tokens=20)
    assert written.text == "A written answer."
    assert server.bodies[0]["options"] == {"temperature": 0, "num_predict": 20, "num_ctx": 8192}
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_the_name_of_a_model_holds_no_address(server: Any) -> None:
    identity = identity_of(resolve("ollama:qwen3-vl:4b-instruct", "captioner"))
    assert identity.name == "ollama:qwen3-vl:4b-instruct"
    assert "127.0.0.1" not in repr(identity)


def test_local_servers_are_found_with_the_line_to_type(server: Any) -> None:
    found = {one.dialect: one for one in local_servers.local_servers()}
    assert found["ollama"].seeing == ("qwen3-vl:4b",)
    assert found["ollama"].line == "fdvs build FOLDER --captioner ollama:qwen3-vl:4b"
    assert found["lmstudio"].models == ("text-only",)
    assert found["lmstudio"].line == ""


def test_only_the_loopback_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(local_servers, "_get", lambda url: asked.append(url))
    assert local_servers.local_servers() == []
    assert len(asked) == 5
    assert all(url.startswith("http://127.0.0.1:") for url in asked)

"""Model servers on the loopback, as strict as the originals: a dialect by the first part of the
path, a behaviour by the name of the model.

Captions are the mean colours of the pictures that arrived, in their order. A picture costs
`PICTURE_TOKENS` of the context. What each dialect checks and says comes from its documentation and
its users' reports; no real server was asked.
"""

from __future__ import annotations

import base64
import io
import json
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

COLOURS = {"red": (255, 0, 0), "green": (0, 128, 0), "blue": (0, 0, 255)}
BEHAVIOURS = (
    "good", "think", "slow-load", "no-eyes", "no-memory", "too-long", "refuses", "parts", "null",
    "loops", "cut", "429", "drip", "one-image",
)  # fmt: skip
# the path that each dialect answers at, and what `GET .../models` says of the owner
PATHS = {
    "ollama": "api/chat", "ollama-v1": "v1/chat/completions", "lmstudio": "v1/chat/completions",
    "llamacpp": "v1/chat/completions", "vllm": "v1/chat/completions",
    "sglang": "v1/chat/completions", "openai": "v1/chat/completions",
    "gemini": "v1beta/openai/chat/completions", "mistral": "v1/chat/completions",
}  # fmt: skip
OWNERS = {"lmstudio": "organization_owner", "ollama-v1": "library", "gemini": "google"}
OPENAI_FIELDS = {"model", "messages", "max_completion_tokens", "stream", "reasoning_effort"}
REFUSED_BY_OPENAI = {
    "max_tokens": "Use 'max_completion_tokens' instead.",
    "temperature": "Only the default (1) value is supported.",
}
MISTRAL_FIELDS = {"model", "messages", "max_tokens", "temperature", "stream"}
GEMINI_FIELDS = MISTRAL_FIELDS | {"reasoning_effort", "max_completion_tokens"}
PICTURE_TOKENS, SHORT_CONTEXT, LONG_CONTEXT, OLLAMA_V1_CONTEXT = 256, 800, 32_768, 600
THINKING_TOKENS = 300
THOUGHTS = "Okay, the user wants colours. Wait, let me look again. "
NO_EYES: dict[str, tuple[int, Any]] = {
    "ollama": (500, {"error": "this model is missing data required for image input"}),
    "lmstudio": (200, {"error": {"message": "ValueError: Vision add-on is not loaded, but images"
                                            " were provided for processing"}}),
    "llamacpp": (500, {"error": {"code": 500, "message": "image input is not supported - hint: if"
                                 " this is unexpected, you may need to provide the mmproj"}}),
    "vllm": (400, {"error": {"message": "no-eyes is not a multimodal model", "code": 400}}),
    "openai": (400, {"error": {"message": "Invalid content type. image_url is only supported by"
                                          " certain models.", "param": "messages.[0].content"}}),
    "gemini": (400, [{"error": {"code": 400, "status": "INVALID_ARGUMENT", "message":
                      "Image input modality is not enabled for models/no-eyes"}}]),
    "mistral": (400, {"object": "error", "message": "Image input is not enabled for this model"}),
}  # fmt: skip
NO_MEMORY: dict[str, tuple[int, Any]] = {
    "ollama": (500, {"error": "model requires more system memory (9.1 GiB) than is available"
                              " (3.0 GiB)"}),
    "lmstudio": (200, {"error": "Model loading was stopped due to insufficient system resources."}),
    "llamacpp": (500, {"error": {"code": 500, "message": "failed to allocate: out of memory"}}),
    "vllm": (500, {"error": {"message": "CUDA out of memory. Tried to allocate 2.00 GiB"}}),
    "sglang": (500, {"error": {"message": "CUDA out of memory. Tried to allocate 2.00 GiB"}}),
    "openai": (429, {"error": {"message": "You exceeded your current quota, please check your plan"
                                          " and billing details.", "code": "insufficient_quota"}}),
    "gemini": (503, [{"error": {"code": 503, "message": "The model is overloaded."}}]),
    "mistral": (503, {"object": "error", "message": "Service unavailable."}),
}  # fmt: skip
TOO_LONG: dict[str, tuple[int, Any]] = {
    "ollama": (400, {"error": "the input length exceeds the context length"}),
    "lmstudio": (200, {"error": {"message": "Context size has been exceeded."}}),
    "llamacpp": (400, {"error": {"code": 400, "type": "exceed_context_size_error", "message":
                       "the request exceeds the available context size, try increasing it"}}),
    "vllm": (400, {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 160."
                             " This model's maximum context length is 800 tokens and your request"
                             " has 900 input tokens"}}),
    "sglang": (400, {"error": {"message": "The input (900 tokens) is longer than the model's"
                                          " context length (800 tokens)."}}),
    "openai": (400, {"error": {"code": "context_length_exceeded", "message": "Input tokens exceed"
                               " the configured limit of 800 tokens."}}),
    "gemini": (400, [{"error": {"code": 400, "message": "The input token count (900) exceeds the"
                                " maximum number of tokens allowed (800)."}}]),
    "mistral": (400, {"message": "Prompt contains 900 tokens and 0 draft tokens, too large for"
                                 " model with 800 maximum context length"}),
}  # fmt: skip
ONE_IMAGE: dict[str, tuple[int, Any]] = {
    "ollama": (500, {"error": "vision model only supports a single image per message"}),
    "lmstudio": (400, {"error": "This model supports only one image per request."}),
    "llamacpp": (400, {"error": {"message": "too many images in the request"}}),
    "vllm": (400, {"error": {"message": "At most 1 image(s) may be provided in one prompt."}}),
    "sglang": (400, {"error": {"message": "At most 1 image(s) may be provided in one request."}}),
    "openai": (400, {"error": {"message": "Too many images in request. Max is 1."}}),
    "gemini": (400, [{"error": {"code": 400, "message": "Please use fewer images: at most 1 image"
                                                        " is supported"}}]),
    "mistral": (400, {"message": "Too many images in request, maximum is 1"}),
}  # fmt: skip
BUSY: dict[str, tuple[int, Any]] = {
    "ollama": (503, {"error": "server busy, please try again. maximum pending requests exceeded"}),
    "openai": (429, {"error": {"message": "Rate limit reached for it. Please try again in 20ms."}}),
    "gemini": (429, [{"error": {"code": 429, "message": "Quota exceeded; retry", "details": [
                      {"@type": "type.googleapis.com/google.rpc.RetryInfo",
                       "retryDelay": "0.02s"}]}}]),
}  # fmt: skip
LOADING: dict[str, tuple[int, Any]] = {
    "llamacpp": (503, {"error": {"code": 503, "message": "Loading model",
                                 "type": "unavailable_error"}}),
    "openai": (503, {"error": {"message": "The engine is currently overloaded"}}),
    "gemini": (503, [{"error": {"code": 503, "message": "The model is overloaded."}}]),
}  # fmt: skip


class DialectServer(ThreadingHTTPServer):
    """The servers. `bodies` are the requests so far; `num_now` of them are being answered.

    `seconds` bound what a caption takes, drawn by request, in at most `places` at a time.
    `load_s` is what the first request of a `slow-load` model takes, and `num_busy` how many
    requests a `429` model refuses first.
    """

    daemon_threads = True
    request_queue_size = 512

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base_url = f"http://127.0.0.1:{self.server_port}"
        self.bodies: list[dict[str, Any]] = []
        self.seconds = (0.0, 0.0)
        self.load_s, self.num_busy = 0.2, 2
        self.lock = threading.Lock()
        self.num_now = 0
        self.changes: list[tuple[float, int]] = []  # when, and how many are in flight from then on
        self.first_s: dict[str, float] = {}
        self.num_seen: dict[str, int] = {}
        self.random = random.Random(0)

    def url(self, kind: str) -> str:
        """Return the base URL of a dialect."""
        path = PATHS[kind].removesuffix("api/chat").removesuffix("/chat/completions")
        return f"{self.base_url}/{kind}/{path}".rstrip("/")

    def in_flight(self, change: int) -> None:
        """Count a request that came or was answered."""
        with self.lock:
            self.num_now += change
            self.changes.append((time.monotonic(), self.num_now))


@contextmanager
def running_dialects() -> Iterator[DialectServer]:
    """Run the servers."""
    server = DialectServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _Handler(BaseHTTPRequestHandler):
    server: DialectServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        kind, _, path = self.path[1:].partition("/")
        data = self.rfile.read(int(self.headers["Content-Length"]))
        body = json.loads(data)
        with self.server.lock:
            self.server.bodies.append(body)
        if path != PATHS.get(kind) and (kind, path) != ("ollama-v1", "api/chat"):
            return self.answer(404, {"error": f"no such path {path}"})
        if kind in ("openai", "gemini", "mistral") and not self.headers.get("Authorization"):
            return self.answer(401, {"error": {"message": "You didn't provide an API key."}})
        self.server.in_flight(1)
        try:
            kind = "ollama" if path == "api/chat" else kind
            status, value = answer(self.server, kind, body)
        finally:
            self.server.in_flight(-1)
        self.answer(status, value, drips=body["model"] == "drip")

    def do_GET(self) -> None:
        kind, _, path = self.path[1:].partition("/")
        names = ["qwen3-vl:4b", "llama3.2:1b"]
        if kind.startswith("ollama") and path == "api/tags":
            self.answer(200, {"models": [{"name": name, "details": {}} for name in names]})
        elif path == PATHS.get(kind, "").replace("chat/completions", "models"):
            owner = OWNERS.get(kind, kind)
            rows = [{"id": name, "object": "model", "owned_by": owner} for name in names]
            self.answer(200, {"object": "list", "data": rows})
        else:
            self.answer(404, {"error": "not found"})

    def answer(self, status: int, value: Any, *, drips: bool = False) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for at in range(0, len(data), 1 if drips else len(data)):
            try:
                self.wfile.write(data[at : at + (1 if drips else len(data))])
            except OSError:  # who asked has gone
                return
            time.sleep(0.05 if drips else 0)

    def log_message(self, *_: Any) -> None:
        pass


def answer(server: DialectServer, kind: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Return status and body as a server of this kind would."""
    problem = _refused(kind, body) or _unable(server, kind, body)
    if problem:
        return problem
    low, high = server.seconds
    if high:
        with server.lock:
            seconds = server.random.uniform(low, high)
        time.sleep(seconds)
    pictures, is_blended = _pictures(kind, body["messages"])
    if body["model"] == "no-eyes":  # SGLang drops what a model cannot see
        return _reply(kind, "I don't see any image in your message. Please share it.", body)
    if is_blended:
        return _reply(kind, "A blend of pictures.", body)
    kept = pictures[-((_context(kind, body) - 100) // PICTURE_TOKENS) :]  # the rest is cut silently
    text = f"I see {', '.join(map(_colour, kept))}." if pictures else "A written answer."
    return _reply(kind, text, body)


def _refused(kind: str, body: dict[str, Any]) -> tuple[int, Any] | None:
    """Return what a server refuses of a request, whatever the model."""
    if kind == "ollama":
        options = body.get("options", {})
        if body.get("think") not in (False, None) or options.get("num_ctx", 0) < 512:
            return 400, {"error": "thinking, or a short context"}
        return None
    if kind == "openai":
        for name, hint in REFUSED_BY_OPENAI.items():
            if name in body:
                told = f"Unsupported parameter: '{name}' is not supported with this model. {hint}"
                return 400, {"error": {"message": told, "param": name}}
    if kind == "gemini" and body["model"] == "think" and body.get("reasoning_effort") == "none":
        told = "Request contains an invalid argument."  # which one is not told
        return 400, [{"error": {"code": 400, "message": told, "status": "INVALID_ARGUMENT"}}]
    known = {"openai": OPENAI_FIELDS, "gemini": GEMINI_FIELDS, "mistral": MISTRAL_FIELDS}.get(kind)
    unknown = sorted(set(body) - known) if known else []
    if not unknown:
        return None
    if kind == "mistral":
        return 422, {"detail": [{"type": "extra_forbidden", "loc": ["body", unknown[0]],
                                 "msg": "Extra inputs are not permitted"}]}  # fmt: skip
    return 400, {"error": {"message": f"Unrecognized request argument supplied: {unknown[0]}"}}


def _unable(server: DialectServer, kind: str, body: dict[str, Any]) -> tuple[int, Any] | None:
    """Return what goes wrong by the model's name."""
    model, like = body["model"], "vllm" if kind == "ollama-v1" else kind
    num_pictures = len(_pictures(kind, body["messages"])[0])
    with server.lock:
        server.num_seen[model] = server.num_seen.get(model, 0) + 1
        first_s = server.first_s.setdefault(model, time.monotonic())
        num_seen = server.num_seen[model]
    if model == "no-eyes" and num_pictures and like in NO_EYES:
        return NO_EYES[like]
    if model == "no-memory":
        return NO_MEMORY[like]
    if model == "one-image" and num_pictures > 1:
        return ONE_IMAGE[like]
    if model == "429" and num_seen <= server.num_busy:
        return BUSY.get(like, (429, {"message": "Requests rate limit exceeded"}))
    if model == "slow-load":
        left_s = first_s + server.load_s - time.monotonic()
        if left_s > 0 and like in LOADING:
            return LOADING[like]
        time.sleep(max(0.0, left_s))
    cuts = kind == "ollama-v1" or (kind == "ollama" and body.get("truncate") is not False)
    if not cuts and num_pictures * PICTURE_TOKENS + 100 > _context(kind, body):
        return TOO_LONG[like]
    return None


def _context(kind: str, body: dict[str, Any]) -> int:
    of_model = SHORT_CONTEXT if body["model"] == "too-long" else LONG_CONTEXT
    if kind == "ollama-v1":
        return OLLAMA_V1_CONTEXT
    return min(of_model, body["options"]["num_ctx"]) if kind == "ollama" else of_model


def _reply(kind: str, text: str, body: dict[str, Any]) -> tuple[int, Any]:
    """Return a reply in the dialect's form, spoilt as the model's name says."""
    model, thoughts, reason = body["model"], "", "stop"
    limit = (body.get("options") or {}).get("num_predict") or body.get("max_tokens")
    limit = limit or body.get("max_completion_tokens") or LONG_CONTEXT
    if model == "think" and limit < THINKING_TOKENS:
        text, thoughts, reason = "", THOUGHTS * 9, "length"
    elif model == "think":
        thoughts = THOUGHTS * 9
    elif model == "loops":
        text = " ".join([text] * 9)
    elif model == "cut":
        text, reason = f"{text} And behind them there is a", "length"
    elif model == "refuses":
        text = "I'm sorry, but I can't assist with describing this image."
    usage = {"prompt_tokens": 9, "completion_tokens": 3}
    if kind == "ollama":
        message: dict[str, Any] = {"role": "assistant", "content": "" if model == "null" else text}
        message |= {"thinking": thoughts} if thoughts else {}
        return 200, {"message": message, "done": True, "done_reason": reason,
                     "prompt_eval_count": 9, "eval_count": 3}  # fmt: skip
    message = {"role": "assistant", "content": text}
    if model == "null":
        message["content"] = None
    elif model == "refuses" and kind == "openai":
        message = {"role": "assistant", "content": None, "refusal": text}
    elif model == "refuses" and kind == "gemini":
        message, reason = {"role": "assistant"}, "content_filter"
    elif model == "parts":
        message["content"] = [{"type": "text", "text": text}]
    elif thoughts:
        message = _thinking(kind, text, thoughts)
        if kind == "openai":
            usage["completion_tokens_details"] = {"reasoning_tokens": 160}  # type: ignore[assignment]
    return 200, {"choices": [{"index": 0, "message": message, "finish_reason": reason}],
                 "usage": usage}  # fmt: skip


def _thinking(kind: str, text: str, thoughts: str) -> dict[str, Any]:
    """Return a message with thoughts, as each dialect mixes them in."""
    if kind == "vllm":  # no parser set: the opening tag stood in the prompt
        return {"content": f"{thoughts}</think>\n\n{text}"}
    if kind in ("lmstudio", "ollama-v1"):
        return {"content": f"<think>\n{thoughts}" + (f"</think>\n\n{text}" if text else "")}
    if kind in ("llamacpp", "sglang"):
        return {"content": text or None, "reasoning_content": thoughts}
    if kind == "mistral":
        part = {"type": "thinking", "thinking": [{"type": "text", "text": thoughts}]}
        return {"content": [part, *([{"type": "text", "text": text}] if text else [])]}
    return {"content": text} if text or kind == "openai" else {}  # thoughts stay with the server


def _pictures(kind: str, messages: list[dict[str, Any]]) -> tuple[list[str], bool]:
    """Return the encoded pictures in order, and whether two neighbours would be blended."""
    found: list[str] = []
    is_blended = False
    for message in messages:
        found += message.get("images", []) if kind == "ollama" else []
        parts = message["content"] if isinstance(message["content"], list) else []
        assert not parts or kind != "ollama", "Ollama's own API takes text and images apart"
        is_blended |= any(a["type"] == b["type"] == "image_url" for a, b in pairwise(parts))
        urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
        assert all(url.startswith("data:image/jpeg;base64,") for url in urls), urls
        found += [url.partition(",")[2] for url in urls]
    return found, is_blended


def _colour(encoded: str) -> str:
    with Image.open(io.BytesIO(base64.b64decode(encoded, validate=True))) as image:
        mean = np.asarray(image.convert("RGB")).reshape(-1, 3).mean(axis=0)
    return min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))

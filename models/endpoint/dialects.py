"""What servers want to be told and how they answer: a table, one client.

A spec names the server: `ollama:MODEL`, `lmstudio:`, `llamacpp:`, `vllm:`, `sglang:`, `openai:`, or
`endpoint:URL#MODEL` for any other. Thinking is off in all of them: thoughts use up the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

DATA_URI = "data:image/jpeg;base64,"
MIN_CONTEXT = 4096
SPARE_TOKENS = 512  # between what was counted and what the server counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One kind of server.

    Attributes:
        base_url: where it listens by itself.
        extra: what is sent beside messages and limits.
        api_key_env: the environment variable of the key, "" for the options' own.
        is_native: Ollama's own `/api/chat`: its `/v1` makes a message of every picture and cuts
            prompts at a context that cannot be set there.
    """

    name: str
    base_url: str
    extra: Mapping[str, Any] = field(default_factory=dict)
    api_key_env: str = ""
    is_native: bool = False


_NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}
DIALECTS = {
    one.name: one
    for one in (
        Dialect(name="ollama", base_url="http://127.0.0.1:11434", is_native=True),
        Dialect(name="lmstudio", base_url="http://127.0.0.1:1234/v1"),
        Dialect(name="llamacpp", base_url="http://127.0.0.1:8080/v1", extra=_NO_THINKING),
        Dialect(name="vllm", base_url="http://127.0.0.1:8000/v1", extra=_NO_THINKING),
        Dialect(name="sglang", base_url="http://127.0.0.1:30000/v1", extra=_NO_THINKING),
        Dialect(name="openai", base_url="https://api.openai.com/v1", api_key_env="OPENAI_API_KEY"),
    )
}
ANY = Dialect(name="", base_url="")


def dialect(name: str) -> Dialect:
    """Return a dialect by name, the plain one for ""."""
    return DIALECTS[name] if name else ANY


def chat_path(one: Dialect) -> str:
    """Return the path of a chat request below the base URL."""
    return "/api/chat" if one.is_native else "/chat/completions"


def chat_body(
    one: Dialect,
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    max_tokens: int,
    context_tokens: int,
) -> dict[str, Any]:
    """Return the request for a reply at temperature 0, without thinking."""
    if not one.is_native:
        return {
            "model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": 0,
            "stream": False, **one.extra,
        }  # fmt: skip
    return {
        "model": model, "messages": [_native(message) for message in messages], "stream": False,
        "think": False, "keep_alive": "30m",
        "options": {"temperature": 0, "num_predict": max_tokens, "num_ctx": context_tokens},
    }  # fmt: skip


def _native(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message with its pictures beside its text, in order."""
    content = message["content"]
    if isinstance(content, str):
        return dict(message)
    texts = [part["text"] for part in content if part["type"] == "text"]
    images = [
        part["image_url"]["url"].removeprefix(DATA_URI)
        for part in content if part["type"] == "image_url"
    ]  # fmt: skip
    return {"role": message["role"], "content": "\n".join(texts), "images": images}


def chat_reply(one: Dialect, value: Any) -> tuple[Any, Any, Any, dict[str, Any]]:
    """Return content, thoughts, the reason of the end, and token counts, of a parsed reply.

    Raises LookupError, TypeError or AttributeError for another form.
    """
    if one.is_native:
        message = value["message"]
        usage = {
            "prompt_tokens": value.get("prompt_eval_count"),
            "completion_tokens": value.get("eval_count"),
        }
        return message["content"], message.get("thinking"), value.get("done_reason"), usage
    choice = value["choices"][0]
    message = choice["message"]
    thoughts = message.get("reasoning") or message.get("reasoning_content")
    content = message.get("content")
    if content is None:
        content = message.get("refusal") or ("" if thoughts else None)
    if isinstance(content, list):  # parts
        content = "".join(str(part.get("text", "")) for part in content)
    return content, thoughts, choice.get("finish_reason"), value.get("usage") or {}

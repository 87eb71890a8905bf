"""Captioner and language model behind an OpenAI-compatible endpoint.

Only kept frames leave the machine, as JPEG data URIs inside the request; nothing is uploaded
elsewhere and no URL is handed over.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fdvs.errors import BadModelOutput, ModelError
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.vlm_prompts import (
    PROMPTS_VERSION,
    Call,
    calls_for,
    clean_reply,
    look_question,
    question,
    whole_call,
)
from fdvs.models.endpoint.client import ChatClient, EndpointOptions, parse_target
from fdvs.models.endpoint.endpoint_reply import Reply
from fdvs.models.weights.fetch import identity_of
from fdvs.protocols import Completion
from fdvs.types import ClipView, Image, ModelIdentity, Observation

# A token is about four letters of English and rarely fewer than three bytes of anything.
BYTES_PER_TOKEN = 3


class EndpointCaptioner:
    """A Describer: the kept frames of a clip in one question, several clips at the same time."""

    source = "caption"
    version = PROMPTS_VERSION
    needs_frames = True

    def __init__(self, client: ChatClient, identity: ModelIdentity) -> None:
        self.identity = identity
        self.batch_size = client.options.concurrency
        self._client = client

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> EndpointCaptioner:
        """Make the client; nothing is sent yet. `settings` choose devices: not ours to choose."""
        del settings
        options = options_from(card, EndpointOptions)
        return cls(ChatClient(parse_target(card.target), options), identity_of(card))

    @property
    def num_requests(self) -> int:
        """Requests sent so far, repeated ones included."""
        return self._client.num_requests

    @property
    def num_retries(self) -> int:
        """Requests that had to be repeated so far."""
        return self._client.num_retries

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Caption the clips. Raises what `ChatClient.chat` raises, and BadModelOutput."""
        calls = calls_for(clips, frames_per_call=self._client.options.frames_per_call)
        with ThreadPoolExecutor(self._client.options.concurrency) as pool:
            captions = list(pool.map(self._caption, calls))
        found: list[list[Observation]] = [[] for _ in clips]
        for call, caption in zip(calls, captions, strict=True):
            found[call.clip_position].append(
                Observation(
                    source=self.source, text=caption, start_s=call.start_s, end_s=call.end_s
                )
            )
        return found

    def look(self, clips: Sequence[ClipView], asked: str) -> list[str]:
        """Answer a question about each clip. Raises as `describe`."""
        with ThreadPoolExecutor(self._client.options.concurrency) as pool:
            return list(
                pool.map(
                    lambda call: self._caption(call, look_question(asked, len(call.frames))),
                    [whole_call(position, view) for position, view in enumerate(clips)],
                )
            )

    def _caption(self, call: Call, prompt: str = "") -> str:
        options, prompt = self._client.options, prompt or question(len(call.frames))
        pictures = [_picture(frame.image, options.jpeg_quality) for frame in call.frames]
        content = [*pictures, {"type": "text", "text": prompt}]
        reply = self._client.chat(
            [{"role": "user", "content": content}], max_tokens=options.max_tokens
        )
        who, is_cut = self.identity.label(), not reply.stopped
        return clean_reply(reply.text, prompt=prompt, who=who, is_cut=is_cut)


class EndpointLanguageModel:
    """A LanguageModel behind an endpoint. Tokens are estimated where the server does not count."""

    attention = "the endpoint's own"

    def __init__(self, client: ChatClient, identity: ModelIdentity) -> None:
        self.identity = identity
        self.context_tokens = client.options.context_tokens
        self._client = client

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> EndpointLanguageModel:
        """See `EndpointCaptioner.load`."""
        del settings
        options = options_from(card, EndpointOptions)
        return cls(ChatClient(parse_target(card.target), options), identity_of(card))

    @property
    def num_retries(self) -> int:
        """Requests that had to be repeated so far."""
        return self._client.num_retries

    def count_tokens(self, text: str) -> int:
        """Estimate from above: an endpoint shows no tokenizer."""
        return math.ceil(len(text.encode("utf-8", errors="replace")) / BYTES_PER_TOKEN)

    def write(self, system: str, user: str, *, max_tokens: int) -> Completion:
        """Ask at temperature 0. Raises ModelError where the prompt does not fit."""
        num_prompt = self.count_tokens(system) + self.count_tokens(user)
        if num_prompt + max_tokens > self.context_tokens:
            raise ModelError(
                f"about {num_prompt} prompt tokens and {max_tokens} for the answer do not fit in "
                f"the {self.context_tokens} of {self.identity.name}; shorten the prompt or set "
                "the option context_tokens"
            )
        messages = [{"role": "system", "content": system}] if system else []
        reply = self._client.chat(
            [*messages, {"role": "user", "content": user}], max_tokens=max_tokens
        )
        if not reply.text.strip():
            raise BadModelOutput(f"{self.identity.name} wrote nothing; try again or another model")
        return self._written(reply, num_prompt)

    def _written(self, reply: Reply, num_prompt: int) -> Completion:
        counted, wrote = reply.num_prompt_tokens, reply.num_tokens
        return Completion(
            text=reply.text.strip(),
            num_prompt_tokens=num_prompt if counted is None else counted,
            num_tokens=self.count_tokens(reply.text) if wrote is None else wrote,
            stopped=reply.stopped,
        )


def _picture(image: Image, quality: int) -> dict[str, Any]:
    """Return a message part with the picture [H, W, 3] as a JPEG data URI."""
    from PIL import Image as Pillow

    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, format="JPEG", quality=quality)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}

"""Captioner (VLM) and language model behind an OpenAI-compatible endpoint.

Only kept frames leave the machine, as JPEG data URIs inside the request; nothing else is uploaded
and no URL is passed on.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from fdvs.errors import BadModelOutput, ModelError
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.vlm_prompts import (
    PROMPTS_VERSION,
    Call,
    calls_for,
    captions_by_clip,
    clean_reply,
    look_question,
    question,
    split_call,
    whole_call,
)
from fdvs.models.endpoint.client import ChatClient, EndpointOptions, parse_target
from fdvs.models.endpoint.refusals import TooMuch
from fdvs.models.endpoint.replies import Reply
from fdvs.models.weights.fetch import identity_of
from fdvs.protocols import Completion
from fdvs.stopping import carried
from fdvs.text.timecode import timecode
from fdvs.types import ClipView, Image, ModelIdentity, Observation

# A token is about four letters of English, and rarely fewer than three bytes in any language.
BYTES_PER_TOKEN = 3


class _EndpointModel:
    """A model behind an endpoint."""

    def __init__(self, client: ChatClient, identity: ModelIdentity) -> None:
        self.identity = identity
        self.client = client

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> Self:
        """Create the client without sending anything; `settings` do not apply to a server."""
        del settings
        options = options_from(card, EndpointOptions)
        client = ChatClient(parse_target(card.target), options, looks=True)
        return cls(client, identity_of(card))


class EndpointCaptioner(_EndpointModel):
    """A Describer: one request per clip with its kept frames, several clips concurrently."""

    source = "caption"
    version = PROMPTS_VERSION + 1  # with a text before each picture
    needs_frames = True
    asks_server = True
    tried_first = True

    def __init__(self, client: ChatClient, identity: ModelIdentity) -> None:
        super().__init__(client, identity)
        self.batch_size = client.options.concurrency
        self._most = client.options.frames_per_call  # pictures that a call may have, 0: any number

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Caption the clips. Raises what `ChatClient.chat` raises, and BadModelOutput.

        A clip that is too much for the server is described in parts.
        """
        calls = calls_for(clips, frames_per_call=self._most)
        found = [one for part in self._each(calls, question) for one in part]
        return captions_by_clip(len(clips), [c for c, _ in found], [text for _, text in found])

    def look(self, clips: Sequence[ClipView], asked: str) -> list[str]:
        """Answer a question about each clip. Raises as `describe`."""
        calls = [whole_call(position, view) for position, view in enumerate(clips)]
        found = self._each(calls, lambda num_frames: look_question(asked, num_frames))
        return [" ".join(text for _, text in part) for part in found]

    def _each(
        self, calls: Sequence[Call], ask: Callable[[int], str]
    ) -> list[list[tuple[Call, str]]]:
        """Return what is said about each call, several at once."""
        if len(calls) < 2:
            return [self._captions(call, ask) for call in calls]
        with ThreadPoolExecutor(min(len(calls), self.client.options.concurrency)) as pool:
            return list(pool.map(carried(lambda call: self._captions(call, ask)), calls))

    def _captions(self, call: Call, ask: Callable[[int], str]) -> list[tuple[Call, str]]:
        """Caption a call, in parts where the server takes fewer pictures at once."""
        try:
            return [(call, self._caption(call, ask(len(call.frames))))]
        except TooMuch as error:
            if len(call.frames) < 2:
                raise
            size = error.num_pictures
            if 0 < size < len(call.frames):
                self._most = min(self._most or size, size)
            else:
                size = len(call.frames) // 2
            return [one for part in split_call(call, size) for one in self._captions(part, ask)]

    def _caption(self, call: Call, prompt: str) -> str:
        options = self.client.options
        content: list[dict[str, Any]] = []
        for number, frame in enumerate(call.frames, start=1):
            # a text before each picture: servers are known to blend neighbouring pictures into one
            told = f"Picture {number}, {timecode(frame.time_s)}:"
            content += [{"type": "text", "text": told}, _picture(frame.image, options.jpeg_quality)]
        content.append({"type": "text", "text": prompt})
        reply = self.client.chat(
            [{"role": "user", "content": content}], max_tokens=options.max_tokens
        )
        who, is_cut = self.identity.label(), not reply.stopped
        return clean_reply(reply.text, prompt=prompt, who=who, is_cut=is_cut)


class EndpointLanguageModel(_EndpointModel):
    """A LanguageModel behind an endpoint. Tokens are estimated where the server does not count."""

    attention = "the endpoint's own"

    def __init__(self, client: ChatClient, identity: ModelIdentity) -> None:
        super().__init__(client, identity)
        self.context_tokens = client.options.context_tokens

    def count_tokens(self, text: str) -> int:
        """Return an upper estimate, as an endpoint has no tokenizer to ask."""
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
        reply = self.client.chat(
            [*messages, {"role": "user", "content": user}], max_tokens=max_tokens
        )
        if not reply.text.strip():
            raise BadModelOutput(f"{self.identity.name} wrote nothing; try again or another model")
        return self._completion(reply, num_prompt)

    def _completion(self, reply: Reply, num_prompt: int) -> Completion:
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

"""Models without weights: scripted replies, word hashing and pixel statistics.

For tests and examples that must run anywhere. They implement the protocols, are deterministic on
every machine, and mark themselves as stand-ins. Their results say nothing about real models.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from fdvs.errors import ModelError
from fdvs.protocols import Completion, OptionScore
from fdvs.types import ClipView, Image, ModelIdentity, Observation, Vectors

_WORD = re.compile(r"\w+")


def _identity(role: str, name: str, revision: str = "1") -> ModelIdentity:
    return ModelIdentity(
        role=role, backend="scripted", name=name, revision=revision, is_stand_in=True
    )


class ScriptedLanguageModel:
    """A PrefillLanguageModel that replies from a queue or by a function of (system, user).

    Records every prompt in `prompts` and every prefilled text in `read_texts`. Raises ModelError
    when the queue is empty or a prompt does not fit. A token is a word. `log_prob` scores an option
    after a prompt; by default, options that share words with the prompt are likelier.
    """

    attention = "none"

    def __init__(
        self,
        replies: Iterable[str] | Callable[[str, str], str],
        *,
        context_tokens: int = 8192,
        name: str = "scripted-writer",
        log_prob: Callable[[str, str], float] | None = None,
    ) -> None:
        self.identity = _identity("llm", name)
        self.context_tokens = context_tokens
        self.prompts: list[tuple[str, str]] = []
        self.read_texts: list[tuple[str, str]] = []
        self.log_prob = log_prob or log_prob_by_words
        self._answer = replies if callable(replies) else self._from_queue(replies)

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    def write(self, system: str, user: str, *, max_tokens: int) -> Completion:
        """Return the next reply, cut after `max_tokens` words. Raises ModelError."""
        num_prompt = self.check_fits(system, user, max_tokens)
        self.prompts.append((system, user))
        reply = self._answer(system, user)
        words = reply.split()
        if len(words) <= max_tokens:
            return Completion(text=reply, num_prompt_tokens=num_prompt, num_tokens=len(words))
        cut = " ".join(words[:max_tokens])
        return Completion(
            text=cut, num_prompt_tokens=num_prompt, num_tokens=max_tokens, stopped=False
        )

    def read(self, system: str, text: str) -> ScriptedReadPrompt:
        """Record the text for later questions. Raises ModelError where it does not fit."""
        self.check_fits(system, text, 1)
        self.read_texts.append((system, text))
        return ScriptedReadPrompt(self, system, text)

    def check_fits(self, system: str, user: str, max_tokens: int) -> int:
        """Return the number of a prompt's tokens. Raises ModelError where they do not fit."""
        num_prompt = self.count_tokens(system) + self.count_tokens(user)
        if num_prompt + max_tokens > self.context_tokens:
            raise ModelError(
                f"the prompt has {num_prompt} tokens and asks for {max_tokens}; "
                f"{self.identity.name} holds {self.context_tokens}: shorten it"
            )
        return num_prompt

    def _from_queue(self, replies: Iterable[str]) -> Callable[[str, str], str]:
        waiting = deque(replies)

        def answer(_system: str, _user: str) -> str:
            if not waiting:
                raise ModelError(f"no scripted reply left for prompt {len(self.prompts)}")
            return waiting.popleft()

        return answer


class ScriptedReadPrompt:
    """A ReadPrompt of a ScriptedLanguageModel, which gets the text and the rest together."""

    def __init__(self, model: ScriptedLanguageModel, system: str, text: str) -> None:
        self.num_tokens = model.count_tokens(system) + model.count_tokens(text)
        self._model = model
        self._system = system
        self._text = text

    def write(
        self, rest: str, *, max_tokens: int, on_text: Callable[[str], None] | None = None
    ) -> Completion:
        """Answer; `on_text` gets one word at a time. Raises ModelError."""
        completion = self._model.write(self._system, self._text + rest, max_tokens=max_tokens)
        if on_text is not None:
            for piece in re.findall(r"\s*\S+", completion.text):
                on_text(piece)
        return completion

    def score(self, rest: str, options: Sequence[str]) -> tuple[OptionScore, ...]:
        """Return each option's score by the model's `log_prob`. Raises ModelError."""
        counts = [self._model.count_tokens(option) for option in options]
        self._model.check_fits(self._system, self._text + rest, max(counts, default=0))
        prompt = f"{self._system}\n{self._text}{rest}"
        return tuple(
            OptionScore(log_prob=self._model.log_prob(prompt, option), num_tokens=count)
            for option, count in zip(options, counts, strict=True)
        )


def log_prob_by_words(prompt: str, option: str) -> float:
    """Return the sum over an option's words: log 1/2 for a word of the prompt, else log 1/64."""
    in_prompt = set(_WORD.findall(prompt.lower()))
    return sum(math.log(0.5 if w in in_prompt else 1 / 64) for w in _WORD.findall(option.lower()))


class ScriptedDescriber:
    """A Describer with scripted texts.

    `lines` maps clip indices to texts, or is a function of the view. `seen` records every view as
    (video_id, clip index, number of frames).
    """

    def __init__(
        self,
        lines: Mapping[int, Sequence[str]] | Callable[[ClipView], Sequence[str]],
        *,
        source: str = "caption",
        needs_frames: bool = True,
        batch_size: int = 4,
    ) -> None:
        self.source = source
        self.identity = _identity("captioner", f"scripted-{source}")
        self.needs_frames = needs_frames
        self.batch_size = batch_size
        self.seen: list[tuple[str, int, int]] = []
        self._lines = lines

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        return [self._observations(view) for view in clips]

    def _observations(self, view: ClipView) -> list[Observation]:
        clip = view.clip
        self.seen.append((clip.video_id, clip.index, len(view.frames)))
        texts = self._lines(view) if callable(self._lines) else self._lines.get(clip.index, ())
        return [view.observation(self.source, text) for text in texts]


class HashTextEmbedder:
    """Bag of words hashed to signed dimensions: texts are similar where they share words.

    Dimension 0 is for texts without a word, so that every row has unit length.
    """

    def __init__(self, num_dims: int = 512) -> None:
        if num_dims < 2:
            raise ValueError(f"num_dims is {num_dims}; need at least 2")
        self.num_dims = num_dims
        self.identity = _identity("text_embedder", f"hash-words-{num_dims}")

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), num_dims], rows of unit length."""
        rows = np.zeros((len(texts), self.num_dims), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            for word in _WORD.findall(text.lower()):
                dimension, sign = self._dimension(word)
                row[dimension] += sign
            if not row.any():
                row[0] = 1.0
        return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)

    def _dimension(self, word: str) -> tuple[int, float]:
        number = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
        return 1 + (number >> 1) % (self.num_dims - 1), 1.0 if number & 1 else -1.0


class GridImageEmbedder:
    """Brightness on a coarse grid and mean colours, each in [-1, 1], and a constant.

    The constant keeps the vector of a uniformly grey picture from being zero.
    """

    def __init__(self, num_cells: int = 8, *, batch_size: int = 64) -> None:
        self.num_cells = num_cells
        self.batch_size = batch_size
        self.identity = _identity("image_embedder", f"grey-grid-{num_cells}")

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Return float32 [len(images), num_cells ** 2 + 4]."""
        rows = [self._features(image) for image in images]
        size = self.num_cells**2 + 4
        return np.asarray(rows, dtype=np.float32).reshape(len(rows), size)

    def _features(self, image: Image) -> Vectors:
        scaled_HWC = image.astype(np.float32) / 127.5 - 1.0
        cells = [
            float(part.mean()) if part.size else 0.0
            for band in np.array_split(scaled_HWC, self.num_cells, axis=0)
            for part in np.array_split(band, self.num_cells, axis=1)
        ]
        colours = scaled_HWC.reshape(-1, 3).mean(axis=0)
        return np.asarray([*cells, *colours, 0.1], dtype=np.float32)

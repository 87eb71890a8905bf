"""Protocols of readers and models; `pipelines/model_set.py` loads implementations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, runtime_checkable

from fdvs.types import (
    ClipView,
    Frame,
    Image,
    ModelIdentity,
    Observation,
    Timeline,
    Vectors,
    VideoInfo,
)


@runtime_checkable
class FrameReader(Protocol):
    """Reads one local file; a context manager, because an open decoder must be closed."""

    @property
    def info(self) -> VideoInfo: ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """Problems found by the probe and the reading so far, one line each."""
        ...

    def frames_at(
        self, times_s: Sequence[float], *, short_side_px: int | None, detail_px: int | None = None
    ) -> Iterator[Frame]:
        """Yield the picture shown at each of the sorted times (the last with time <= t).

        One frame per time, in order. `short_side_px` bounds the short side (pictures are never
        enlarged); None keeps full size. `detail_px` asks for `Frame.detail`, the same picture with
        that bound, where it is larger. Raises UndecodableVideo if no picture can be decoded.
        """
        ...

    def iter_frames(self, *, every_s: float, short_side_px: int | None) -> Iterator[Frame]:
        """Yield frames at least `every_s` apart, in one forward pass (0: every frame)."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> FrameReader: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


@runtime_checkable
class ImageEmbedder(Protocol):
    """Pictures to vectors, of any length; similarities normalise them."""

    identity: ModelIdentity
    batch_size: int

    def embed_images(self, images: Sequence[Image]) -> Vectors:
        """Return float32 [len(images), D]."""
        ...


@runtime_checkable
class TextEmbedder(Protocol):
    """Texts to unit vectors."""

    identity: ModelIdentity

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Return float32 [len(texts), D], rows of unit length; an empty text is allowed."""
        ...


@runtime_checkable
class PictureMatcher(Protocol):
    """Embeds pictures and queries in one space, so that a query can match what no text says.

    `min_score` is the least cosine of a match; it differs from model to model.
    """

    identity: ModelIdentity
    min_score: float

    def place_pictures(self, vectors: Vectors) -> Vectors:
        """Return unit rows [N, E] for vectors [N, D] of the image embedder."""
        ...

    def place_query(self, query: str) -> Vectors:
        """Return the unit vector [E] of a query."""
        ...


@runtime_checkable
class Describer(Protocol):
    """Describes clips in words: captioner, tags, subtitles, speech, objects, ...

    `source` names it in observations; `needs_frames` is False if it uses only the file's path and
    the clip's times; `batch_size` is the number of clips of a batch.

    Five optional members: `asks_server`, true where `describe` waits for a server, which is then
    asked about `batch_size` clips at once, one in each call; `tried_first`, true where a build asks
    it about one made picture before it reads films; `content_fingerprint(video_path) ->
    str`, a digest of what is read besides the video (a subtitle file), and the class attributes
    `version`, raised when prompts or parsing change, and `short_side_px`, the size of the pictures
    it is given where the film has them and that is larger than the usual one. A change of digest or
    version makes stored observations stale.
    """

    source: str
    identity: ModelIdentity
    needs_frames: bool
    batch_size: int

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Return one list of observations per clip, in order; a list may be empty.

        Raises ModelError if the model fails; the caller then tries clip by clip, so that one bad
        clip fails only its own video.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What a track source found in [start_s, end_s) of a file.

    `observations` are in time order; `notes` are sentences for a person, each naming a file or
    track and what to do; `language` is a tag such as "en" where it is known.
    """

    start_s: float
    end_s: float
    observations: tuple[Observation, ...]
    notes: tuple[str, ...] = ()
    language: str = ""


@runtime_checkable
class TrackSource(Protocol):
    """Reads a whole file once, without its pictures: subtitles, speech.

    Optional members as of a Describer: `content_fingerprint` and `version`.
    """

    source: str
    identity: ModelIdentity

    def read_track(
        self, video_path: Path, timeline: Timeline, *, start_s: float = 0.0
    ) -> Iterator[Heard]:
        """Yield stretches in time order from `start_s` on, in seconds from the first picture.

        Each is stored as it comes, so that a killed build goes on behind the last one. Raises
        ModelError where the source cannot go on.
        """
        ...


@runtime_checkable
class SecondLookCaptioner(Protocol):
    """A captioner that can answer a question about clips."""

    def look(self, clips: Sequence[ClipView], question: str) -> list[str]:
        """Return one raw reply per clip, in order; `question` must be cleaned.

        Raises ModelError where the model fails.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A language model's reply; `stopped` is False where it ran out of tokens."""

    text: str
    num_prompt_tokens: int
    num_tokens: int
    stopped: bool = True


@runtime_checkable
class LanguageModel(Protocol):
    """A language model that follows instructions; `attention` describes its attention."""

    identity: ModelIdentity
    context_tokens: int

    @property
    def attention(self) -> str: ...

    def count_tokens(self, text: str) -> int: ...

    def write(self, system: str, user: str, *, max_tokens: int) -> Completion:
        """Answer greedily (temperature 0).

        Raises ModelError where the prompt does not fit in `context_tokens`.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionScore:
    """The log likelihood (natural) of a text after a prompt, summed over its tokens."""

    log_prob: float
    num_tokens: int


@runtime_checkable
class ReadPrompt(Protocol):
    """The fixed part of a prompt, prefilled once: each question costs only its own tokens."""

    num_tokens: int

    def write(
        self, rest: str, *, max_tokens: int, on_text: Callable[[str], None] | None = None
    ) -> Completion:
        """Answer `rest`, which follows the prefilled text, greedily.

        `on_text` gets the answer piece by piece while it is written. The cached prompt does not
        change, so calls do not see each other. Raises ModelError where it does not fit.
        """
        ...

    def score(self, rest: str, options: Sequence[str]) -> tuple[OptionScore, ...]:
        """Return the log likelihood of each option as the answer to `rest`, in order."""
        ...


@runtime_checkable
class PrefillLanguageModel(LanguageModel, Protocol):
    """A language model that prefills a prompt once and answers many questions about it."""

    def read(self, system: str, text: str) -> ReadPrompt:
        """Prefill the fixed part of a prompt: the system text and the first part of the user's.

        Raises ModelError where it does not fit in `context_tokens`.
        """
        ...

"""A caller's own models: checked when a library is opened, plain functions made describers."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fdvs.errors import BadModelOutput, ConfigError, FdvsError, ModelError, UnknownName
from fdvs.fingerprint import digest
from fdvs.protocols import (
    Describer,
    ImageEmbedder,
    LanguageModel,
    PictureMatcher,
    TextEmbedder,
    TrackSource,
)
from fdvs.types import ClipView, Frame, ModelIdentity, Observation

SOURCE = "source:"
PROTOCOLS: dict[str, tuple[type, ...]] = {
    "image_embedder": (ImageEmbedder,),
    "text_embedder": (TextEmbedder,),
    "captioner": (Describer,),
    SOURCE: (Describer, TrackSource),
    "llm": (LanguageModel,),
    "picture_matcher": (PictureMatcher,),
}
FUNCTION = 'def caption(frames): return f"{len(frames)} pictures"  # frame.image is RGB [H, W, 3]'
EXAMPLES = {
    "image_embedder": "fdvs.models.scripted.GridImageEmbedder",
    "text_embedder": "fdvs.models.scripted.HashTextEmbedder",
    "captioner": FUNCTION,
    SOURCE: FUNCTION,
    "llm": "fdvs.models.scripted.ScriptedLanguageModel",
    "picture_matcher": "fdvs.models.embed.clip.ClipMatcher",
}


def checked_models(models: Mapping[str, Any]) -> dict[str, Any]:
    """Return own models by role; a function of a captioner or source becomes a describer.

    Raises UnknownName for an unknown role, ConfigError for a class or for an object without the
    members of its protocol, with an example.
    """
    return {name: _checked(name, model) for name, model in models.items()}


def _checked(name: str, model: Any) -> Any:
    role = SOURCE if name.startswith(SOURCE) else name
    if role not in PROTOCOLS:
        raise UnknownName("role in models=", name, [*PROTOCOLS, "source:NAME"])
    if role in ("captioner", SOURCE) and _is_function(model):
        return FunctionDescriber(model, source=name.removeprefix(SOURCE))
    lacking = [members_of(protocol, model) for protocol in PROTOCOLS[role]]
    if isinstance(model, type) or all(lacking):
        if isinstance(model, type):
            wrong = f"the class {model.__name__} instead of an object of it"
        else:
            wrong = f"{_kind(model)}, which lacks {', '.join(lacking[0])}"
        named = " or ".join(protocol.__name__ for protocol in PROTOCOLS[role])
        raise ConfigError(
            f"models={{{name!r}: ...}}: got {wrong}; want a {named} (fdvs/protocols.py); "
            f"an example: {EXAMPLES[role]}"
        )
    return model


def members_of(protocol: type, model: Any) -> list[str]:
    """Return the members of a protocol that an object lacks."""
    names = [*protocol.__annotations__, *(n for n in vars(protocol) if not n.startswith("_"))]
    return [name for name in dict.fromkeys(names) if not hasattr(model, name)]


def _is_function(model: Any) -> bool:
    return callable(model) and not isinstance(model, type) and not hasattr(model, "describe")


def _kind(model: Any) -> str:
    return f"a function {model.__name__}" if inspect.isroutine(model) else type(model).__name__


class FunctionDescriber:
    """A Describer of a plain function: the kept frames of a clip in, a text or a list of texts out.

    A text is of the whole clip. An edited function is another model, as far as its source is known,
    so its films are described again; what it calls is not looked at.
    """

    needs_frames = True
    batch_size = 1

    def __init__(
        self, function: Callable[[Sequence[Frame]], str | Sequence[str]], *, source: str
    ) -> None:
        self.source = "caption" if source == "captioner" else source
        self.identity = ModelIdentity(
            role=source, backend="function", name=_name(function), revision=_revision(function)
        )
        self._function = function

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Describe the clips, one by one; one without frames is not asked about.

        Raises ModelError where the function fails, BadModelOutput where it returns no text.
        """
        return [self._described(view) if view.frames else [] for view in clips]

    def _described(self, view: ClipView) -> list[Observation]:
        name = self.identity.name
        try:
            found = self._function(view.frames)
        except FdvsError:
            raise
        except Exception as error:
            raise ModelError(f"{name} failed: {type(error).__name__}: {error}") from error
        texts = [found] if isinstance(found, str) else found
        if not isinstance(texts, list | tuple) or not all(isinstance(one, str) for one in texts):
            kind = type(found).__name__
            raise BadModelOutput(f"{name} returned {kind}; want a text, or a list of texts")
        return [view.observation(self.source, text) for text in texts if text.strip()]


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))


def _revision(function: Any) -> str:
    """Return a digest of a function's source, "" where it is not known."""
    try:
        return digest(inspect.getsource(function))[:16]
    except (OSError, TypeError):
        return ""

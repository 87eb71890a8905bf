"""The models of one library, loaded on first use, and their identities without loading.

A build that has nothing to do asks only for identities, so it imports no heavy package.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from fdvs.config import Config
from fdvs.fingerprint import digest
from fdvs.models.cards import Card, LoadSettings, Role, resolve
from fdvs.protocols import Describer, ImageEmbedder, PictureMatcher, TextEmbedder, TextWriter
from fdvs.types import ModelIdentity

logger = logging.getLogger(__name__)

Loader = Callable[[str, LoadSettings], Any]


class Parts:
    """Hands out the models that a config names. `made` replaces single ones (tests, own models).

    `made` maps a role to an object, or `source:NAME` to a describer.
    """

    def __init__(self, config: Config, *, made: Mapping[str, Any] | None = None) -> None:
        self._config = config
        self._made: dict[str, Any] = dict(made or {})
        self._lock = threading.RLock()
        models = config.models
        self._settings = LoadSettings(
            device=models.device, dtype=models.dtype, attention=config.ask.attention
        )

    @property
    def image_embedder(self) -> ImageEmbedder:
        return cast(ImageEmbedder, self._part("image_embedder"))

    @property
    def text_embedder(self) -> TextEmbedder:
        return cast(TextEmbedder, self._part("text_embedder"))

    @property
    def llm(self) -> TextWriter:
        return cast(TextWriter, self._part("llm"))

    def has_matcher(self) -> bool:
        """Whether the image embedder can place queries among pictures. Loads nothing."""
        return "picture_matcher" in self._made or bool(self._matcher_backend())

    @property
    def matcher(self) -> PictureMatcher | None:
        """What finds pictures by words; None where the image embedder knows no words."""
        with self._lock:
            backend = self._matcher_backend()
            if "picture_matcher" not in self._made and backend:
                from fdvs.models.factory import MATCHERS

                self._made["picture_matcher"] = MATCHERS.get(backend).build(
                    lambda: self.image_embedder,
                    lambda: self.text_embedder,
                    made_of=(self.identity("image_embedder"), self.identity("text_embedder")),
                )
            return cast("PictureMatcher | None", self._made.get("picture_matcher"))

    def _matcher_backend(self) -> str:
        made = self._made.get("image_embedder")
        kind = self._class("image_embedder") if made is None else type(made)
        return str(getattr(kind, "matcher_backend", ""))

    def describer_names(self) -> tuple[str, ...]:
        """Return the parts' keys of everything that describes a clip: captioner first."""
        return ("captioner", *(f"source:{name}" for name in self._config.perceive.sources))

    def describer(self, key: str) -> Describer:
        return cast(Describer, self._part(key))

    def identity(self, key: str) -> ModelIdentity:
        """Return the identity of a part without loading its weights."""
        if key in self._made:
            return cast(ModelIdentity, self._made[key].identity)
        from fdvs.models.fetch import identity_of

        return identity_of(self._card(key))

    def fingerprint(self, key: str) -> str:
        """Return a digest of everything about a part that can change its results."""
        if key in self._made:
            return digest(self._made[key].identity)
        options = dict(self._card(key).options)
        return digest([self.identity(key), options, self._settings.dtype])

    def needs_frames(self, key: str) -> bool:
        """Whether a describer looks at pictures; asked of its class, so nothing is loaded."""
        if key in self._made:
            return bool(self._made[key].needs_frames)
        return bool(self._class(key).needs_frames)

    def batch_size(self, key: str) -> int:
        """Clips per batch of a describer. Loads it."""
        return self.describer(key).batch_size

    def content_beside(self, key: str, path: Path) -> str:
        """Return a digest of what a source reads besides the video, or '' (most read nothing)."""
        kind = type(self._made[key]) if key in self._made else self._class(key)
        if not hasattr(kind, "content_fingerprint"):
            return ""
        return str(self._part(key).content_fingerprint(path))

    def check(self) -> None:
        """Raise ModelUnavailable or ConfigError now, before any work, if a part cannot be had."""
        for key in self.build_keys():
            self.identity(key)

    def build_keys(self) -> tuple[str, ...]:
        """Return the keys of the parts that a build uses."""
        keys = ["image_embedder", *self.describer_names(), "text_embedder"]
        if self._config.chapter.writer == "llm" or self._config.story.writer == "abstractive":
            keys.append("llm")
        return tuple(keys)

    def backends(self) -> dict[str, str]:
        """Return role -> model label, stand-ins marked, for reports."""
        return {key: self.identity(key).label() for key in (*self.build_keys(), "llm")}

    def _card(self, key: str) -> Card:
        role, spec = self._spec(key)
        return resolve(spec, role)

    def _class(self, key: str) -> Any:
        from fdvs.models.factory import backend_class

        return backend_class(self._card(key))

    def _spec(self, key: str) -> tuple[Role, str]:
        models = self._config.models
        if key.startswith("source:"):
            return "source", key.removeprefix("source:")
        specs: dict[str, tuple[Role, str]] = {
            "image_embedder": ("image_embedder", models.image_embedder),
            "text_embedder": ("text_embedder", models.text_embedder),
            "llm": ("llm", models.llm),
            "captioner": ("captioner", self._config.perceive.captioner),
        }
        return specs[key]

    def _part(self, key: str) -> Any:
        with self._lock:
            if key not in self._made:
                self._made[key] = self._load(key)
            return self._made[key]

    def _load(self, key: str) -> Any:
        from fdvs.models import factory

        role, spec = self._spec(key)
        loaders: dict[str, Loader] = {
            "image_embedder": factory.load_image_embedder,
            "text_embedder": factory.load_text_embedder,
            "captioner": factory.load_captioner,
            "source": factory.load_source,
            "llm": factory.load_writer,
        }
        part = loaders[role](spec, self._settings)
        logger.info("%s: %s", key, part.identity.label())
        return part

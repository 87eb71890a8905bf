"""The models of one library, loaded on first use, and their identities without loading.

A build that has nothing to do asks only for identities, so it imports no heavy package.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

from fdvs.config import Config
from fdvs.errors import ModelUnavailable
from fdvs.fingerprint import digest
from fdvs.models.cards import Card, LoadSettings, Role, resolve
from fdvs.protocols import Describer, ImageEmbedder, LanguageModel, PictureMatcher, TextEmbedder
from fdvs.types import ModelIdentity

logger = logging.getLogger(__name__)

Loader = Callable[[str, LoadSettings], Any]


class ModelSet:
    """Hands out the models that a config names. `models` replaces single ones (tests, own models).

    `models` maps a role to an object, or `source:NAME` to a describer.
    """

    def __init__(self, config: Config, *, models: Mapping[str, Any] | None = None) -> None:
        self._config = config
        self._given: dict[str, Any] = dict(models or {})
        self._loaded: dict[str, Any] = {}
        self._lock = threading.RLock()
        chosen = config.models
        self._settings = LoadSettings(
            device=chosen.device,
            dtype=chosen.dtype,
            attention=config.ask.attention,
            attention_plan=config.ask.attention_plan,
            reread=config.ask.reread,
        )

    @property
    def image_embedder(self) -> ImageEmbedder:
        return cast(ImageEmbedder, self._part("image_embedder"))

    @property
    def text_embedder(self) -> TextEmbedder:
        return cast(TextEmbedder, self._part("text_embedder"))

    @property
    def llm(self) -> LanguageModel:
        return cast(LanguageModel, self._part("llm"))

    def has_matcher(self) -> bool:
        """Whether the image embedder can place queries among pictures. Loads nothing."""
        return "picture_matcher" in self._given or bool(self._matcher_backend())

    @property
    def matcher(self) -> PictureMatcher | None:
        """What finds pictures by words; None where the image embedder knows no words."""
        return cast(PictureMatcher, self._part("picture_matcher")) if self.has_matcher() else None

    def _matcher_backend(self) -> str:
        embedder = self._given.get("image_embedder") or self._class("image_embedder")
        return str(getattr(embedder, "matcher_backend", ""))

    def _load_matcher(self) -> Any:
        from fdvs.models.factory import MATCHERS

        return MATCHERS.get(self._matcher_backend()).build(
            lambda: self.image_embedder,
            lambda: self.text_embedder,
            made_of=(self.identity("image_embedder"), self.identity("text_embedder")),
        )

    def describer_names(self) -> tuple[str, ...]:
        """Return the parts' keys of everything that describes a clip: captioner first."""
        return ("captioner", *(f"source:{name}" for name in self._config.perceive.sources))

    def describer(self, key: str) -> Describer:
        return cast(Describer, self._part(key))

    def identity(self, key: str) -> ModelIdentity:
        """Return the identity of a part without loading its weights."""
        if key in self._given:
            return cast(ModelIdentity, self._given[key].identity)
        from fdvs.models.weights.fetch import identity_of

        return identity_of(self._card(key))

    def fingerprint(self, key: str) -> str:
        """Return a digest of everything about a part that can change its results.

        The same whether or not the part is loaded. `version` is a backend's own count of changes
        to its prompts or parsing.
        """
        if key in self._given:
            return digest(self._given[key].identity)
        version = getattr(self._class(key), "version", 0)
        options = dict(self._card(key).options)
        return digest([self.identity(key), options, version, self._settings.dtype])

    def needs_frames(self, key: str) -> bool:
        """Whether a describer looks at pictures; asked of its class, so nothing is loaded."""
        return bool((self._given.get(key) or self._class(key)).needs_frames)

    def batch_size(self, key: str) -> int:
        """Clips per batch of a describer. Loads it."""
        return self.describer(key).batch_size

    def content_beside(self, key: str, path: Path) -> str:
        """Return a digest of what a source reads besides the video, or '' (most read nothing)."""
        if not hasattr(self._given.get(key) or self._class(key), "content_fingerprint"):
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
        """Return role -> model label, stand-ins marked, for reports; a missing LLM is named so."""
        return {key: self._label(key) for key in (*self.build_keys(), "llm")}

    def _label(self, key: str) -> str:
        try:
            return self.identity(key).label()
        except ModelUnavailable:
            return f"{self._spec(key)[1]} (not on this machine)"

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
        if key in self._given:
            return self._given[key]
        with self._lock:
            if key not in self._loaded:
                load = self._load_matcher if key == "picture_matcher" else partial(self._load, key)
                self._loaded[key] = load()
            return self._loaded[key]

    def _load(self, key: str) -> Any:
        from fdvs.models import factory

        role, spec = self._spec(key)
        loaders: dict[str, Loader] = {
            "image_embedder": factory.load_image_embedder,
            "text_embedder": factory.load_text_embedder,
            "captioner": factory.load_captioner,
            "source": factory.load_source,
            "llm": factory.load_language_model,
        }
        part = loaders[role](spec, self._settings)
        logger.info("%s: %s", key, part.identity.label())
        return part

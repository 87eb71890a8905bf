"""The models that a library's settings name: loaded on first use, identified without loading.

A build that has nothing to do asks only for identities, so it imports no heavy package.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

from fdvs.config import Config
from fdvs.errors import ConfigError, ModelUnavailable
from fdvs.fingerprint import digest
from fdvs.models.cards import Card, LoadSettings, Role, in_language, resolve
from fdvs.pipelines.own_models import checked_models
from fdvs.pipelines.requirements import missing_packages, missing_weights
from fdvs.pipelines.sources import resolve_sources
from fdvs.protocols import (
    Describer,
    ImageEmbedder,
    LanguageModel,
    PictureMatcher,
    TextEmbedder,
    TrackSource,
)
from fdvs.types import ModelIdentity

CAPTIONER = "captioner"
#: options of a server's model that change when its results come, not what they are
NEUTRAL_OPTIONS = frozenset({
    "api_key_env", "timeout_s", "load_timeout_s", "max_attempts", "backoff_s", "max_backoff_s",
    "max_retry_after_s", "concurrency", "max_reply_bytes",
})  # fmt: skip

logger = logging.getLogger(__name__)


def model_specs(config: Config) -> dict[str, tuple[Role, str]]:
    """Return (role, spec) of every model that a config names, by name, in the order of use.

    The language model `captioner` is the captioner itself.
    """
    models, perceive = config.models, config.perceive
    return {
        "image_embedder": ("image_embedder", models.image_embedder),
        "captioner": ("captioner", perceive.captioner),
        **{f"source:{source}": ("source", source) for source in perceive.sources},
        "text_embedder": ("text_embedder", models.text_embedder),
        "llm": ("llm", perceive.captioner if models.llm == CAPTIONER else models.llm),
    }


def used_specs(config: Config) -> dict[str, tuple[Role, str]]:
    """Return those of `model_specs` that a build or an answer uses."""
    specs = model_specs(config)
    if not (writes_with_llm(config) or config.ask.answerer != "evidence"):
        del specs["llm"]
    return specs


def used_cards(config: Config) -> list[Card]:
    """Return the cards of the models that a build or an answer uses. Raises UnknownName."""
    specs = used_specs(resolve_sources(config).config).values()
    return [in_language(resolve(spec, role), config.perceive.language) for role, spec in specs]


def writes_with_llm(config: Config) -> bool:
    """Whether a build lets the language model write chapters or stories."""
    return config.chapter.writer == "llm" or config.story.writer == "abstractive"


class ModelSet:
    """The models of a config, by name: a role (`captioner`, `llm`, ...) or `source:NAME`.

    `models` replaces single ones by name with your own objects.
    """

    def __init__(self, config: Config, *, models: Mapping[str, Any] | None = None) -> None:
        config = resolve_sources(config, own=models or {}).config
        self._config = config
        self._specs = model_specs(config)
        self._own = checked_models(models or {})
        self._loaded: dict[str, Any] = {}
        self._lock = threading.RLock()
        self._is_tried = False
        self._on_load: Callable[[str, bool], None] = lambda label, is_loaded: None
        chosen = config.models
        self._settings = LoadSettings(
            device=chosen.device,
            dtype=chosen.dtype,
            attention=config.ask.attention,
            attention_plan=config.ask.attention_plan,
            reread=config.ask.reread,
            language=config.perceive.language,
        )

    @property
    def own(self) -> Mapping[str, Any]:
        """The caller's own models, by name."""
        return self._own

    @property
    def image_embedder(self) -> ImageEmbedder:
        """The model that turns frames into vectors."""
        return cast(ImageEmbedder, self._model("image_embedder"))

    @property
    def text_embedder(self) -> TextEmbedder:
        """The model that turns texts into vectors."""
        return cast(TextEmbedder, self._model("text_embedder"))

    @property
    def llm(self) -> LanguageModel:
        """The language model that writes and answers."""
        return cast(LanguageModel, self._model("llm"))

    def has_matcher(self) -> bool:
        """Whether the image embedder can place queries among pictures. Loads nothing."""
        return "picture_matcher" in self._own or bool(self._matcher_backend())

    @property
    def matcher(self) -> PictureMatcher | None:
        """What finds pictures by words; None where the image embedder has no such matcher."""
        return cast(PictureMatcher, self._model("picture_matcher")) if self.has_matcher() else None

    def _matcher_backend(self) -> str:
        embedder = self._own.get("image_embedder") or self._class("image_embedder")
        return str(getattr(embedder, "matcher_backend", ""))

    def _load_matcher(self) -> Any:
        from fdvs.models.factory import MATCHERS

        return MATCHERS.get(self._matcher_backend())(
            lambda: self.image_embedder,
            lambda: self.text_embedder,
            made_of=(self.identity("image_embedder"), self.identity("text_embedder")),
        )

    def observer_names(self) -> tuple[str, ...]:
        """Return the names of all models that observe a video, the captioner first."""
        return ("captioner", *(f"source:{name}" for name in self._config.perceive.sources))

    def describer_names(self) -> tuple[str, ...]:
        """Return the names of those that describe clips, the captioner first."""
        return tuple(name for name in self.observer_names() if not self.reads_tracks(name))

    def reads_tracks(self, name: str) -> bool:
        """Whether a model reads whole files (a TrackSource). Loads nothing."""
        return hasattr(self._own.get(name) or self._class(name), "read_track")

    def kind_of(self, name: str) -> str:
        """Return what a source's observations are called: `speech` of speech-base."""
        found = self._own.get(name) or self._class(name)
        return str(getattr(found, "source", "") or name.removeprefix("source:"))

    def listens(self) -> bool:
        """Whether a source writes down what is said. Loads nothing."""
        found = (self._own.get(name) or self._class(name) for name in self.observer_names())
        return any(getattr(source, "source", "") == "speech" for source in found)

    def track_source(self, name: str) -> TrackSource:
        """Return a source that reads whole files, loaded."""
        return cast(TrackSource, self._model(name))

    def describer(self, name: str) -> Describer:
        """Return the captioner or a source, loaded."""
        return cast(Describer, self._model(name))

    def identity(self, name: str) -> ModelIdentity:
        """Return the identity of a model without loading its weights."""
        if name in self._own:
            return cast(ModelIdentity, self._own[name].identity)
        from fdvs.models.weights.fetch import identity_of

        return identity_of(self.card(name))

    def fingerprint(self, name: str) -> str:
        """Return a digest of everything about a model that can change its results.

        It is the same before and after loading. A backend raises its `version` when its prompts
        or its parsing change.
        """
        if name in self._own:
            return digest(self._own[name].identity)
        version = getattr(self._class(name), "version", 0)
        card = self.card(name)
        neutral = NEUTRAL_OPTIONS if card.backend == "endpoint" else frozenset()
        options = {key: value for key, value in card.options.items() if key not in neutral}
        return digest([self.identity(name), options, version, self._settings.dtype])

    def needs_frames(self, name: str) -> bool:
        """Whether a describer reads frames; asked of its class, so nothing is loaded."""
        return bool((self._own.get(name) or self._class(name)).needs_frames)

    def asks_server(self, name: str) -> bool:
        """Whether a describer waits for a server, which answers `batch_size` clips at once."""
        return bool(getattr(self._own.get(name) or self._class(name), "asks_server", False))

    def try_captioner(self, *, on_server: bool = False) -> None:
        """Ask a captioner that wants it about one made picture, once; `on_server`: only if a server
        runs it, so that no weights are loaded. Raises ModelUnavailable where it is not described.
        """
        from fdvs.models.describe.trial import try_captioner

        wants = getattr(self._own.get(CAPTIONER) or self._class(CAPTIONER), "tried_first", False)
        if not wants or (on_server and not self.asks_server(CAPTIONER)):
            return
        with self._lock:
            if self._is_tried:
                return
            captioner = self.describer(CAPTIONER)
            label = captioner.identity.label()
            self._on_load(label, False)
            try:
                trial = try_captioner(captioner)
            finally:
                self._on_load(label, True)
            self._is_tried = True
        logger.info("captioner: a made picture took %.2f s: %s", trial.seconds, trial.text)

    def short_side_px(self, name: str) -> int | None:
        """Return the size of pictures that a describer asks for, None for the usual one."""
        px = getattr(self._own.get(name) or self._class(name), "short_side_px", None)
        return None if px is None else int(px)

    def batch_size(self, name: str) -> int:
        """Return how many clips a describer takes at once. Loads it."""
        return self.describer(name).batch_size

    def content_beside(self, name: str, path: Path) -> str:
        """Return a digest of the files that a source reads beside the video, or ''."""
        if not hasattr(self._own.get(name) or self._class(name), "content_fingerprint"):
            return ""
        return str(self._model(name).content_fingerprint(path))

    def check(self) -> None:
        """Raise ModelError or ConfigError if a build lacks a model or a package, or a model's files
        are damaged, before any work. All that is missing is told at once."""
        from fdvs.models.weights.fetch import may_be_fetched
        from fdvs.models.weights.loading import check_weights

        cards = [self.card(name) for name in self.names_for_build() if name not in self._own]
        lacking = missing_packages(cards)
        if weights := missing_weights(card for card in cards if may_be_fetched(card)):
            lacking.append(f"{weights} (or build with --fetch)")
        if lacking:
            raise ModelUnavailable("; ".join(lacking))
        for name in self.names_for_build():
            self.identity(name)
        for card in cards:
            check_weights(card)

    def names_for_build(self) -> tuple[str, ...]:
        """Return the names of the models that a build uses."""
        names = ["image_embedder", *self.observer_names(), "text_embedder"]
        if writes_with_llm(self._config):
            names.append("llm")
        return tuple(names)

    def backends(self) -> dict[str, str]:
        """Return each used model's label by name, for reports; a missing LLM is marked."""
        names = dict.fromkeys([*self.names_for_build(), *used_specs(self._config)])
        return {name: self._label(name) for name in names}

    def _label(self, name: str) -> str:
        try:
            return self.identity(name).label()
        except ModelUnavailable:
            return f"{self._specs[name][1]} (not on this machine)"

    def card(self, name: str) -> Card:
        """Return the card of a model of the settings. Raises UnknownName."""
        role, spec = self._specs[name]
        card = in_language(resolve(spec, role), self._settings.language)
        card = self._with_options(card, name)
        if name == "llm" and card.backend == "transformers" and self._is_captioners(spec):
            return replace(card, backend=CAPTIONER)
        return card

    def _with_options(self, card: Card, name: str) -> Card:
        """Return a card with the options that the settings give its role. Raises ConfigError for a
        model that no server runs."""
        options = getattr(self._config.models.options, name, None)
        given = {} if options is None else asdict(options)
        given = {key: value for key, value in given.items() if value is not None}
        if given and card.backend != "endpoint":
            raise ConfigError(
                f"models.options.{name}: {', '.join(given)}: these are for models that a server "
                f"runs, and {card.name} is none; remove them, or name a server (ollama:MODEL, "
                "endpoint:URL#MODEL)"
            )
        return replace(card, options={**card.options, **given}) if given else card

    def _class(self, name: str) -> Any:
        from fdvs.models.factory import backend_class

        return backend_class(self.card(name))

    def _model(self, name: str) -> Any:
        if name in self._own:
            return self._own[name]
        if name in self._loaded:  # does not wait while another model is loaded
            return self._loaded[name]
        with self._lock:
            if name not in self._loaded:
                is_matcher = name == "picture_matcher"
                self._loaded[name] = self._load_matcher() if is_matcher else self._load(name)
            return self._loaded[name]

    @contextmanager
    def loads_told(self, tell: Callable[[str, bool], None]) -> Iterator[None]:
        """Inside, tell which model is being loaded, and then that it is, where it is waited for."""
        before, self._on_load = self._on_load, tell
        try:
            yield
        finally:
            self._on_load = before

    def _load(self, name: str) -> Any:
        from fdvs.models.factory import backend_class

        _, spec = self._specs[name]
        if self.card(name).backend == CAPTIONER and self._is_captioners(spec):
            return self._writing_captioner()
        self._on_load(spec, False)
        try:
            card = self.card(name)
            model = backend_class(card).load(card, self._settings)
        finally:
            self._on_load(spec, True)
        logger.info("%s: %s", name, model.identity.label())
        return model

    def _is_captioners(self, spec: str) -> bool:
        return self._specs[CAPTIONER][1] == spec and CAPTIONER not in self._own

    def _writing_captioner(self) -> Any:
        """Return the loaded captioner as a language model: its weights are in memory once."""
        from fdvs.models.llm.by_captioner import CaptionerLanguageModel

        model = CaptionerLanguageModel(cast(Any, self.describer(CAPTIONER)))
        logger.info("llm: %s, which is the captioner", model.identity.label())
        return model

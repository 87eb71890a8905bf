"""Load the model that a spec names. Each backend class has `load(card, settings)`."""

from __future__ import annotations

from typing import Any, cast

from fdvs.models.cards import Card, LoadSettings, Role, in_language, resolve
from fdvs.protocols import Describer, ImageEmbedder, LanguageModel, TextEmbedder
from fdvs.registry import Registry

IMAGE_EMBEDDERS = Registry(
    "image embedder backend",
    {
        "efficientnet": "fdvs.models.embed.efficientnet:EfficientNetEmbedder",
        "open_clip": "fdvs.models.embed.clip:OpenClipEmbedder",
    },
)
TEXT_EMBEDDERS = Registry(
    "text embedder backend",
    {"sentence-transformers": "fdvs.models.embed.sentence:SentenceEmbedder"},
)
CAPTIONERS = Registry(
    "captioner backend",
    {
        "tags": "fdvs.models.describe.tags:TagCaptioner",
        "transformers": "fdvs.models.describe.vlm:TransformersCaptioner",
        "endpoint": "fdvs.models.endpoint.endpoint:EndpointCaptioner",
    },
)
SOURCES = Registry(
    "source backend",
    {
        "subtitles": "fdvs.models.describe.subtitles:SubtitleSource",
        "faster-whisper": "fdvs.models.describe.speech:SpeechSource",
        "rapidocr": "fdvs.models.describe.ocr:ScreenTextSource",
        "grounding-dino": "fdvs.models.describe.objects:ObjectSource",
        "video-classifier": "fdvs.models.describe.action:ActionSource",
    },
)
LANGUAGE_MODELS = Registry(
    "language model backend",
    {
        "transformers": "fdvs.models.llm.local:LocalLanguageModel",
        "endpoint": "fdvs.models.endpoint.endpoint:EndpointLanguageModel",
    },
)


MATCHERS = Registry(
    "picture matcher",
    {
        "conse": "fdvs.models.embed.conse:ConseMatcher",
        "clip": "fdvs.models.embed.clip:ClipMatcher",
    },
)
ROLES: dict[Role, Registry] = {
    "image_embedder": IMAGE_EMBEDDERS,
    "text_embedder": TEXT_EMBEDDERS,
    "captioner": CAPTIONERS,
    "source": SOURCES,
    "llm": LANGUAGE_MODELS,
}


def backend_class(card: Card) -> Any:
    """Return the class that runs a card, without loading weights. Raises UnknownName."""
    return ROLES[card.role].get(card.backend)


def _load(registry: Registry, card: Card, settings: LoadSettings) -> Any:
    return registry.get(card.backend).load(card, settings)


def load_image_embedder(spec: str, settings: LoadSettings) -> ImageEmbedder:
    """Raises ModelUnavailable where weights or a package are missing, ConfigError on a bad spec."""
    return cast(ImageEmbedder, _load(IMAGE_EMBEDDERS, resolve(spec, "image_embedder"), settings))


def load_text_embedder(spec: str, settings: LoadSettings) -> TextEmbedder:
    """See `load_image_embedder`."""
    return cast(TextEmbedder, _load(TEXT_EMBEDDERS, resolve(spec, "text_embedder"), settings))


def load_captioner(spec: str, settings: LoadSettings) -> Describer:
    """See `load_image_embedder`."""
    return cast(Describer, _load(CAPTIONERS, resolve(spec, "captioner"), settings))


def load_source(spec: str, settings: LoadSettings) -> Describer:
    """See `load_image_embedder`; in the language of the settings, where the source has one."""
    card = in_language(resolve(spec, "source"), settings.language)
    return cast(Describer, _load(SOURCES, card, settings))


def load_language_model(spec: str, settings: LoadSettings) -> LanguageModel:
    """See `load_image_embedder`."""
    return cast(LanguageModel, _load(LANGUAGE_MODELS, resolve(spec, "llm"), settings))

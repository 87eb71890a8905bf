"""Load the model that a spec names. Each backend class has `load(card, settings)`."""

from __future__ import annotations

from typing import Any

from fdvs.errors import ModelUnavailable, how_to_install
from fdvs.models.cards import Card, LoadSettings, Role, in_language, resolve
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
        "captioner": "fdvs.models.llm.by_captioner:CaptionerLanguageModel",
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
    """Return the class that runs a card, without loading weights.

    Raises UnknownName, or ModelUnavailable where a package that it imports is not installed.
    """
    try:
        return ROLES[card.role].get(card.backend)
    except ModuleNotFoundError as error:
        raise ModelUnavailable(
            f"{card.name} needs the package {error.name!r}; {how_to_install('local')}"
        ) from None


def load_model(spec: str, role: Role, settings: LoadSettings) -> Any:
    """Return the model of a spec (a card, or BACKEND:TARGET), loaded.

    Raises ModelUnavailable where weights or a package are missing, ConfigError on a bad spec.
    """
    card = in_language(resolve(spec, role), settings.language)
    return backend_class(card).load(card, settings)

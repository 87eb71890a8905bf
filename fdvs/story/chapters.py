"""Write the chapter of a clip, one paragraph: by a template from its observations, or by an LLM.

Everything that a source says is untrusted: subtitles, text on screen and a model's words may
contain anything. Before use, observations lose invisible characters, get a bounded length and a
fixed order, and are merged where they repeat each other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from fdvs.config import ChapterConfig
from fdvs.errors import ModelError, ModelUnavailable
from fdvs.prompting.prompts import ask_for_text, chapter_prompt, fits
from fdvs.protocols import LanguageModel
from fdvs.text.clean import clean_text
from fdvs.text.sentences import finish, listed, shorten
from fdvs.text.vocabulary import same_words
from fdvs.types import Chapter, Clip, Observation

logger = logging.getLogger(__name__)

NOTHING_SEEN = "Nothing could be recognised in this part of the video."

# a template quotes at most this much of one source and marks the cut
MAX_QUOTE_CHARS = 600
MAX_OBSERVATION_CHARS = 2000
MIN_OBSERVATION_CHARS = 40
# the order of sources in a chapter; others follow alphabetically
SOURCE_ORDER = (
    "caption",
    "tags",
    "motion",
    "action",
    "objects",
    "screen text",
    "subtitles",
    "speech",
)

_LABEL_PHRASES = {
    "caption": "The picture shows",
    "tags": "The picture shows",
    "action": "The action looks like",
    "objects": "In view:",
}
_QUOTE_PHRASES = {"subtitles": "The subtitles say", "speech": "Someone says"}
_INNER_QUOTES = str.maketrans({"“": "‘", "”": "’", '"': "'"})


def kind_of(source: str) -> str:
    """Return a source's name as `SOURCE_ORDER` writes it: lower case, spaces."""
    return source.strip().lower().replace("_", " ").replace("-", " ")


def arrange(
    observations: Iterable[Observation], *, max_chars: int = MAX_OBSERVATION_CHARS
) -> tuple[Observation, ...]:
    """Return observations with clean texts in the order of `SOURCE_ORDER`, then of time.

    What one source says twice (the same caption of several kept frames), or speech repeats from
    the subtitles, becomes one observation over both times, with the higher confidence.
    Observations without visible text are dropped.
    """
    cleaned = [
        replace(o, source=kind_of(o.source), text=clean_text(o.text, max_chars=max_chars))
        for o in observations
    ]
    ordered = sorted((o for o in cleaned if o.text), key=_place)
    merged: dict[tuple[str, str], Observation] = {}
    for observation in ordered:
        key = (_family(observation.source), same_words(observation.text) or observation.text)
        known = merged.get(key)
        merged[key] = observation if known is None else _join(known, observation)
    return tuple(merged.values())


def _place(observation: Observation) -> tuple[int, str, float, float]:
    source = observation.source
    rank = SOURCE_ORDER.index(source) if source in SOURCE_ORDER else len(SOURCE_ORDER)
    return rank, source, observation.start_s, observation.end_s


def _family(source: str) -> str:
    return "subtitles" if source == "speech" else source


def _join(first: Observation, again: Observation) -> Observation:
    known = [c for c in (first.confidence, again.confidence) if c is not None]
    return replace(
        first,
        start_s=min(first.start_s, again.start_s),
        end_s=max(first.end_s, again.end_s),
        confidence=max(known) if known else None,
    )


def texts_of(observations: Sequence[Observation], source: str) -> list[str]:
    """Return the texts of one source, in order."""
    return [o.text for o in observations if o.source == source]


def write_chapter(
    clip: Clip,
    observations: Sequence[Observation],
    *,
    config: ChapterConfig,
    writer: LanguageModel | None,
) -> Chapter:
    """Return the clip's chapter; without observations it says that nothing was recognised.

    Raises ModelUnavailable if `config.writer` is llm and `writer` is None, BadModelOutput if the
    model's reply is empty.
    """
    arranged = arrange(observations)
    if config.writer == "llm" and writer is None:
        raise ModelUnavailable(
            "chapter.writer is 'llm', but no language model is loaded; set models.llm, "
            "or chapter.writer to 'template'"
        )
    if not arranged:
        text = NOTHING_SEEN
    elif config.writer == "llm" and writer is not None:
        text = _by_model(arranged, config=config, writer=writer)
    else:
        text = template_text(arranged)
    return Chapter(
        video_id=clip.video_id,
        index=clip.index,
        start_s=clip.start_s,
        end_s=clip.end_s,
        text=text,
    )


def _by_model(
    arranged: Sequence[Observation], *, config: ChapterConfig, writer: LanguageModel
) -> str:
    """Ask once; observations are shortened, which is marked, until the prompt fits."""
    max_chars = MAX_OBSERVATION_CHARS
    prompt = chapter_prompt(arranged)
    while not fits(writer, prompt, max_tokens=config.max_tokens):
        max_chars //= 2
        if max_chars < MIN_OBSERVATION_CHARS:
            raise ModelError(
                f"{len(arranged)} observations of one clip do not fit into the "
                f"{writer.context_tokens} tokens of {writer.identity.label()}; use another model, "
                "fewer sources or shorter clips"
            )
        logger.info("chapter: observations cut to %d characters to fit the context", max_chars)
        prompt = chapter_prompt(arrange(arranged, max_chars=max_chars))
    return ask_for_text(writer, prompt, max_tokens=config.max_tokens, what="a chapter")


def template_text(arranged: Sequence[Observation]) -> str:
    """Return a paragraph of arranged observations; what is a sentence already stays as it is."""
    kinds = dict.fromkeys(o.source for o in arranged)
    parts = [_part(kind, texts_of(arranged, kind)) for kind in kinds]
    return " ".join(part for part in parts if part)


def _part(kind: str, texts: Sequence[str]) -> str:
    """Return what one source said, as sentences or as a quote."""
    if kind == "motion":
        return " ".join(map(finish, texts))
    if kind in _LABEL_PHRASES:
        return _sentences(texts, _LABEL_PHRASES[kind])
    if kind == "screen text":
        return f"On screen it says {listed([quoted(text) for text in texts])}."
    return f"{_QUOTE_PHRASES.get(kind, kind.capitalize())}: {_running_quote(texts)}"


def _sentences(texts: Sequence[str], phrase: str) -> str:
    """Return sentences as they are, and bare labels joined into one sentence after `phrase`."""
    labels = [text for text in texts if not _is_sentence(text)]
    whole = [finish(text) for text in texts if _is_sentence(text)]
    return " ".join([*whole, *([finish(f"{phrase} {listed(labels)}")] if labels else [])])


def _is_sentence(text: str) -> bool:
    return finish(text) == text or len(text.split()) > 8


def quoted(text: str) -> str:
    """Return the text between quotation marks; those inside become single ones."""
    return f"“{shorten(text.translate(_INNER_QUOTES), max_chars=MAX_QUOTE_CHARS)}”"


def _running_quote(texts: Sequence[str]) -> str:
    """Return consecutive lines as one quote that ends like a sentence; repeated ones once."""
    lines: list[str] = []
    for text in texts:
        if not lines or same_words(text) not in same_words(lines[-1]):
            lines.append(text)
    return quoted(finish(" ".join(lines)))

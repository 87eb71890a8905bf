"""One paragraph for one clip: by template from what the sources said, or by a language model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from fdvs.config import ChapterConfig
from fdvs.errors import ModelError, ModelUnavailable
from fdvs.prompting.prompts import chapter_prompt
from fdvs.prompting.replies import ask_for_text, fits
from fdvs.protocols import LanguageModel
from fdvs.story.observations import arrange, texts_of
from fdvs.text.sentences import finish, shorten
from fdvs.text.vocabulary import same_words
from fdvs.types import Chapter, Clip, Observation

log = logging.getLogger(__name__)

NOTHING_SEEN = "Nothing could be recognised in this part of the video."

# a template quotes no more of one source than this; the cut is marked
MAX_QUOTE_CHARS = 600
MAX_OBSERVATION_CHARS = 2000
MIN_OBSERVATION_CHARS = 40

_INNER_QUOTES = str.maketrans({"“": "‘", "”": "’", '"': "'"})


def write_chapter(
    clip: Clip,
    observations: Sequence[Observation],
    *,
    config: ChapterConfig,
    writer: LanguageModel | None,
) -> Chapter:
    """Return the clip's chapter. A clip of which nothing is known says so, without a model.

    Raises ModelUnavailable where `config.writer` is llm and there is no writer, BadModelOutput
    where the model answers nothing.
    """
    arranged = arrange(observations, max_chars=MAX_OBSERVATION_CHARS)
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
    """Ask once; where the prompt does not fit, every observation is cut shorter, marked."""
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
        log.info("chapter: observations cut to %d characters to fit the context", max_chars)
        prompt = chapter_prompt(arrange(arranged, max_chars=max_chars))
    return ask_for_text(writer, prompt, max_tokens=config.max_tokens, what="a chapter")


def template_text(arranged: Sequence[Observation]) -> str:
    """Return a paragraph of arranged observations; what already is a sentence stays as it is."""
    kinds = dict.fromkeys(o.source for o in arranged)
    parts = [_TEMPLATES.get(kind, _other)(texts_of(arranged, kind), kind) for kind in kinds]
    return " ".join(part for part in parts if part)


def _is_sentence(text: str) -> bool:
    return finish(text) == text or len(text.split()) > 8


def _sentences(texts: Sequence[str], phrase: Callable[[str], str]) -> str:
    """Sentences stay; bare labels are joined into one sentence made by `phrase`."""
    labels = [text for text in texts if not _is_sentence(text)]
    whole = [finish(text) for text in texts if _is_sentence(text)]
    return " ".join([*whole, *([finish(phrase(listed(labels)))] if labels else [])])


def listed(items: Sequence[str]) -> str:
    """Return `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def _picture(texts: Sequence[str], _kind: str) -> str:
    return _sentences(texts, lambda labels: f"The picture shows {labels}")


def _motion(texts: Sequence[str], _kind: str) -> str:
    return " ".join(finish(text) for text in texts)


def _action(texts: Sequence[str], _kind: str) -> str:
    return _sentences(texts, lambda labels: f"The action looks like {labels}")


def _objects(texts: Sequence[str], _kind: str) -> str:
    return _sentences(texts, lambda labels: f"In view: {labels}")


def _screen_text(texts: Sequence[str], _kind: str) -> str:
    return f"On screen it says {listed([quoted(text) for text in texts])}."


def _subtitles(texts: Sequence[str], _kind: str) -> str:
    return f"The subtitles say: {_running_quote(texts)}"


def _speech(texts: Sequence[str], _kind: str) -> str:
    return f"Someone says: {_running_quote(texts)}"


def _other(texts: Sequence[str], kind: str) -> str:
    return f"{kind.capitalize()}: {_running_quote(texts)}"


def quoted(text: str) -> str:
    """Return the text between quotation marks; those inside become single ones."""
    return f"“{shorten(text.translate(_INNER_QUOTES), max_chars=MAX_QUOTE_CHARS)}”"


def _running_quote(texts: Sequence[str]) -> str:
    """Return consecutive lines as one quote that ends like a sentence; echoes are left out."""
    lines: list[str] = []
    for text in texts:
        if not lines or same_words(text) not in same_words(lines[-1]):
            lines.append(text)
    return quoted(finish(" ".join(lines)))


_TEMPLATES: dict[str, Callable[[Sequence[str], str], str]] = {
    "caption": _picture,
    "tags": _picture,
    "motion": _motion,
    "action": _action,
    "objects": _objects,
    "screen text": _screen_text,
    "subtitles": _subtitles,
    "speech": _speech,
}

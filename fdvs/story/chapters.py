"""Write the chapter of a clip, as a person takes a note: by a template, or by a language model.

The heading comes first, then all that is said, then what is written on screen and what is seen, in
the order of trust of `fdvs.story.observations`. Words that a picture classifier recognises are
keywords at the end: it knows too little for sentences.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from fdvs.config import ChapterConfig
from fdvs.errors import ModelError, ModelUnavailable
from fdvs.prompting.injection import has_prompt_injection
from fdvs.prompting.marks import with_marks
from fdvs.prompting.prompts import ask_for_text, chapter_prompt, fits
from fdvs.protocols import LanguageModel
from fdvs.story.observations import (
    MAX_OBSERVATION_CHARS,
    SPOKEN,
    arrange,
    texts_of,
)
from fdvs.story.said import Said, said_sentences
from fdvs.story.suspects import OrderTest, split_suspects
from fdvs.text.context import in_context
from fdvs.text.sentences import finish, listed, shorten
from fdvs.types import Chapter, Clip, Observation

logger = logging.getLogger(__name__)

NOTHING_SEEN = "Nothing could be recognised in this part of the video."
#: What a chapter's text on screen and its keywords of pictures begin with.
ON_SCREEN = "On screen:"
PICTURES = "Pictures:"

# a template quotes at most this much of one text on screen and marks the cut
MAX_QUOTE_CHARS = 600
MIN_OBSERVATION_CHARS = 40
MAX_TITLE_CHARS = 80

_LABEL_PHRASES = {
    "caption": "The picture shows",
    "action": "The action looks like",
    "objects": "In view:",
}
_INNER_QUOTES = str.maketrans({"“": "‘", "”": "’", '"': "'"})


def write_chapter(
    clip: Clip,
    observations: Sequence[Observation],
    *,
    config: ChapterConfig,
    writer: LanguageModel | None,
    by_meaning: OrderTest | None = None,
) -> Chapter:
    """Return the clip's chapter; without observations it says that nothing was recognised.

    The text of a language model condenses everything; it has no `said` of its own. Observations
    that read like orders are shown to no model: they are quoted at the end, marked.

    Args:
        by_meaning: finds orders by their meaning; None finds them by their words alone.

    Raises ModelUnavailable if `config.writer` is llm and `writer` is None, BadModelOutput if the
    model's reply is empty.
    """
    arranged, suspects = split_suspects(arrange(observations), by_meaning)
    if config.writer == "llm" and writer is None:
        raise ModelUnavailable(
            "chapter.writer is 'llm', but no language model is loaded; set models.llm, "
            "or chapter.writer to 'template'"
        )
    text = ""
    said: tuple[Said, ...] = ()
    if config.writer == "llm" and writer is not None and arranged:
        text = _by_model(arranged, config=config, writer=writer)
    if not text:
        said = tuple(said_sentences(arranged))
        text = template_text(arranged) or NOTHING_SEEN
    injections = tuple(o.text for o in suspects)
    return Chapter(
        video_id=clip.video_id,
        index=clip.index,
        start_s=clip.start_s,
        end_s=clip.end_s,
        text=with_marks(text, injections),
        title=title_of(arranged),
        said=tuple(one.text for one in said),
        said_s=tuple((one.start_s, one.end_s) for one in said),
        injections=injections,
    )


def title_of(arranged: Sequence[Observation]) -> str:
    """Return the heading that stands longest, "" where there is none."""
    headings = [o for o in arranged if o.source == "heading"]
    longest = max(headings, key=lambda o: o.end_s - o.start_s, default=None)
    return "" if longest is None else shorten(longest.text, max_chars=MAX_TITLE_CHARS)


def _by_model(
    arranged: Sequence[Observation], *, config: ChapterConfig, writer: LanguageModel
) -> str:
    """Ask once; observations are shortened, which is marked, until the prompt fits.

    Returns "" for a reply that reads like an order itself: the template has to write.
    """
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
    text = ask_for_text(writer, prompt, max_tokens=config.max_tokens, what="a chapter")
    text = in_context(text, [o.text for o in arranged])
    if has_prompt_injection(text):
        logger.warning("a chapter of %s reads like an order: by template", writer.identity.label())
        return ""
    return text


def template_text(arranged: Sequence[Observation]) -> str:
    """Return a note of arranged observations; what is a sentence already stays as it is.

    How much the picture moves is written only where nothing else is known.
    """
    kinds = list(dict.fromkeys(o.source for o in arranged))
    headings = [finish(text) for text in texts_of(arranged, "heading")]
    shown = [kind for kind in kinds if kind not in {"heading", *SPOKEN}]
    if len(kinds) > 1:
        shown = [kind for kind in shown if kind != "motion"]
    parts = [_part(kind, texts_of(arranged, kind)) for kind in shown]
    said = [one.text for one in said_sentences(arranged)]
    return " ".join(part for part in [*headings, *said, *parts] if part)


def _part(kind: str, texts: Sequence[str]) -> str:
    """Return what one source shows, as sentences, as a quote or as keywords."""
    if kind == "motion":
        return " ".join(map(finish, texts))
    if kind == "tags":
        return finish(f"{PICTURES} {', '.join(_keywords(texts))}")
    if kind in _LABEL_PHRASES:
        return _sentences(texts, _LABEL_PHRASES[kind])
    if kind == "screen text":
        return f"{ON_SCREEN} {listed([quoted(text) for text in texts])}."
    return f"{kind.capitalize()}: {quoted(finish(' '.join(texts)))}"


def _keywords(texts: Sequence[str]) -> list[str]:
    """Return the keywords of several lists without repetitions, sure ones first."""
    words = list(dict.fromkeys(word for text in texts for word in split_keywords(text)))
    sure = [word for word in words if not word.endswith("?")]
    return sure + [word for word in words if word.endswith("?") and word[:-1] not in sure]


def split_keywords(text: str) -> list[str]:
    """Return the items of a list, which commas separate, except those inside brackets.

    >>> split_keywords("rabbit (hare, angora), bird?")
    ['rabbit (hare, angora)', 'bird?']
    """
    return [word.strip() for word in re.split(r",(?![^(]*\))", text) if word.strip()]


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

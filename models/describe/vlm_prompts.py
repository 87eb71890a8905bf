"""Prompts of captioners, and cleaning of their replies. Knows no model.

The prompts ask for what the paper asks (FDVS, arXiv 2412.06182, Table II: place, objects, their
colours, what happens), in our own words and limited to two sentences, because a clip's paragraph
joins several captions.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fdvs.errors import BadModelOutput
from fdvs.prompting.thoughts import without_thoughts
from fdvs.text.clean import clean_text
from fdvs.text.sentences import split_sentences
from fdvs.text.timecode import timecode
from fdvs.types import Clip, ClipView, Frame, Observation

# The `version` of every captioner; raise it when a prompt changes.
PROMPTS_VERSION = 1
MAX_CAPTION_CHARS = 2000
EXCERPT_CHARS = 120

_ONE = (
    "Describe this picture from a video in one or two sentences: the place, the main objects "
    "and their colours, and what is happening. Say only what can be seen."
)
_SEVERAL = (
    "These {count} pictures follow each other in one short stretch of a video. Describe the "
    "stretch in one or two sentences: the place, the main objects and their colours, and what "
    "happens. Say only what can be seen."
)
_VIDEO = (
    "Describe this part of a video in one or two sentences: the place, the main objects and their "
    "colours, and what happens. Say only what can be seen."
)
# Models without a chat template (BLIP-2) were trained on prompts of this form.
PLAIN = "Question: Where is this, which objects and colours are there, what happens? Answer:"

_SPECIAL = re.compile(r"<\|[^<>|]{1,40}\|>|</?s>|<(?:pad|unk|eos|bos|image|end_of_utterance)>")
_REFUSAL = re.compile(
    r"^(?:i(?:'|’)?m sorry|sorry|i can(?:'|’)?t|i cannot|i(?:'|’)?m unable|i am unable|unable to"
    r"|as an ai)\b.{0,160}\b(?:assist|help|describe|identify|see|view|provide|process|comply|image"
    r"|picture)",
    re.IGNORECASE,
)
# what a model says whose server dropped the pictures
_BLIND = re.compile(
    r"^(?:(?:i(?:'|’)?m sorry|sorry)[,.]? (?:but )?)?"
    r"(?:i (?:do not|don(?:'|’)t|cannot|can(?:'|’)t) see (?:any|an|the|your) (?:image|picture)"
    r"|there (?:is|are) no (?:image|picture|photo)s? (?:in your|provided|attached|included)"
    r"|no (?:image|picture|photo)s? (?:was|were|is|are) (?:provided|attached|included)"
    r"|(?:please|could you) (?:provide|share|upload|attach) (?:the|an|your) (?:image|picture))",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(
    r"[*_`#]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}|^\s*(?:[-*•]|\d{1,2}[.)])\s+", re.MULTILINE
)
_CHAT = re.compile(
    r"^(?:sure|certainly|of course|absolutely|here(?:'s| is| are))\b[^.:!\n]{0,80}[.:!]\s*",
    re.IGNORECASE,
)
MAX_OPENERS = 3  # "Sure! Here is the description:"
MAX_REPEATS = 2  # of a sentence; a model that loops says it for ever
_ROLE = re.compile(r"^\s*(?:assistant|answer|caption|description)\s*:\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a captioner: the clip's position in the batch, its frames, and their time."""

    clip_position: int
    frames: tuple[Frame, ...]
    start_s: float
    end_s: float


def question(num_frames: int) -> str:
    """Return the prompt of a chat model for `num_frames` pictures."""
    return _ONE if num_frames == 1 else _SEVERAL.format(count=num_frames)


def video_question() -> str:
    """Return the prompt of a chat model that is shown a video."""
    return _VIDEO


def picture_label(number: int, frame: Frame) -> str:
    """Return the text before a picture, one of several."""
    return f"Picture {number}, {timecode(frame.time_s)}:"


def look_question(asked: str, num_frames: int, *, is_video: bool = False) -> str:
    """Return the prompt of a second look; `asked` is a cleaned question."""
    seen = "this picture" if num_frames == 1 else f"these {num_frames} pictures, in order,"
    seen = "this part" if is_video else seen
    return (
        f"Look at {seen} from a video and answer in one short sentence, only from what can be "
        f"seen; if it cannot be seen, say so. The question: {asked}"
    )


def whole_call(position: int, view: ClipView) -> Call:
    """Return one call with all frames of a clip."""
    clip = view.clip
    return Call(clip_position=position, frames=view.frames, start_s=clip.start_s, end_s=clip.end_s)


def calls_for(clips: Sequence[ClipView], *, frames_per_call: int) -> list[Call]:
    """Split each clip's kept frames into calls; 0 puts all frames of a clip into one call.

    A call covers the time from its first frame to the next call's first frame; the first starts
    and the last ends with the clip. A clip without frames gets no call.
    """
    calls: list[Call] = []
    for position, view in enumerate(clips):
        size = frames_per_call or max(1, len(view.frames))
        groups = [view.frames[at : at + size] for at in range(0, len(view.frames), size)]
        bounds = _bounds(groups, view.clip)
        for group, start_s, end_s in zip(groups, bounds[:-1], bounds[1:], strict=True):
            calls.append(Call(clip_position=position, frames=group, start_s=start_s, end_s=end_s))
    return calls


def split_call(call: Call, size: int) -> list[Call]:
    """Split a call into parts of `size` frames, which together cover its time."""
    groups = [call.frames[at : at + size] for at in range(0, len(call.frames), size)]
    edges_s = [call.start_s, *(group[0].time_s for group in groups[1:]), call.end_s]
    return [
        replace(call, frames=group, start_s=start_s, end_s=end_s)
        for group, start_s, end_s in zip(groups, edges_s[:-1], edges_s[1:], strict=True)
    ]


def captions_by_clip(
    num_clips: int, calls: Sequence[Call], captions: Sequence[str]
) -> list[list[Observation]]:
    """Return the captions of `calls` as observations, one list per clip of the batch."""
    found: list[list[Observation]] = [[] for _ in range(num_clips)]
    for call, text in zip(calls, captions, strict=True):
        found[call.clip_position].append(
            Observation(source="caption", text=text, start_s=call.start_s, end_s=call.end_s)
        )
    return found


def _bounds(groups: Sequence[tuple[Frame, ...]], clip: Clip) -> list[float]:
    starts = [group[0].time_s for group in groups[1:]]
    return [clip.start_s, *starts, clip.end_s] if groups else [clip.start_s]


def clean_reply(reply: str, *, prompt: str, who: str, is_cut: bool = False) -> str:
    """Return a reply as one line, without prompt echo, special tokens, thoughts, markdown, chat.

    `is_cut`: the model ran out of tokens; an incomplete last sentence is dropped if a complete one
    remains. Raises BadModelOutput, with an excerpt, where no word remains, or the model refuses.
    """
    text = _SPECIAL.sub(" ", without_thoughts(reply))
    text = " ".join(_MARKDOWN.sub("", text).split())
    text = text.removeprefix(" ".join(prompt.split())).strip()
    for _ in range(MAX_OPENERS):
        text = _CHAT.sub("", _ROLE.sub("", text))
    text = clean_text(_ROLE.sub("", text), max_chars=MAX_CAPTION_CHARS)
    if _REFUSAL.search(text):
        raise BadModelOutput(f"{who} refused to describe the pictures: {text[:EXCERPT_CHARS]!r}")
    if _BLIND.search(text):
        raise BadModelOutput(f"{who} saw no pictures: {text[:EXCERPT_CHARS]!r}; take one that sees")
    text = _without_loops(text)
    if not any(character.isalnum() for character in text):
        raise BadModelOutput(
            f"{who} described nothing; its reply was {reply[:EXCERPT_CHARS]!r}; "
            "try another captioner or more new tokens"
        )
    return _whole_sentences(text) if is_cut else text


def _without_loops(text: str) -> str:
    """Return a text up to where a sentence is said for the third time."""
    seen: Counter[str] = Counter()
    kept = []
    for sentence in split_sentences(text):
        seen[sentence] += 1
        if seen[sentence] > MAX_REPEATS:
            break
        if seen[sentence] == 1:
            kept.append(sentence)
    return " ".join(kept)


def _whole_sentences(text: str) -> str:
    ends = [match.end() for match in re.finditer(r"[.!?](?=\s|$)", text)]
    return text[: ends[-1]] if ends else text

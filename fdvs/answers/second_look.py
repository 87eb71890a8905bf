"""A second look: the frames of the cited clips go back to a captioner, with the question.

Its replies are shown beside the answer, clip by clip with their citation; they neither change the
answer nor count as evidence, since nothing checks them. What goes wrong never costs the answer,
which is there before: a captioner that takes no questions (a classifier), a file that is gone and a
useless reply each become a note.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fdvs.errors import BadModelOutput, MediaError, ModelError
from fdvs.prompting.fence import neutral
from fdvs.protocols import Describer, SecondLookCaptioner
from fdvs.text.plain import clean_words
from fdvs.text.timecode import citation
from fdvs.types import AnswerSentence, Citation, ClipView

MAX_CLIPS = 4  # clips; a captioner takes seconds for each
MAX_REPLY_CHARS = 600
MAX_QUESTION_CHARS = 500


def second_look(
    question: str,
    citations: Sequence[Citation],
    view_of: Callable[[Citation], ClipView],
    captioner: Describer,
) -> tuple[tuple[AnswerSentence, ...], tuple[str, ...]]:
    """Return a captioner's replies to the question about each cited clip, and notes.

    A clip that cannot be read or that gets a useless reply is left out; once the captioner itself
    fails, no further clip is shown.

    Args:
        citations: the clips, the most important first; the first `MAX_CLIPS` different ones count.
        view_of: reads a clip's frames.
    """
    if not isinstance(captioner, SecondLookCaptioner):
        return (), (f"no second look: {captioner.identity.label()} takes no questions",)
    chosen = list({(c.video_id, c.start_s): c for c in citations}.values())[:MAX_CLIPS]
    if not chosen:
        return (), ("no second look: nothing is cited",)
    asked = neutral(question, max_chars=MAX_QUESTION_CHARS)
    replies, notes = [], []
    for cited in chosen:
        try:
            text = _reply(captioner, view_of(cited), asked)
        except (MediaError, ModelError) as error:
            place = citation(cited.name, cited.start_s, cited.end_s)
            notes.append(f"no second look at {place}: {error}")
            if isinstance(error, (MediaError, BadModelOutput)):
                continue
            break
        replies.append(AnswerSentence(text=text, support=0.0, citations=(cited,)))
    if replies:
        notes.append(f"second look by {captioner.identity.label()}, not checked")
    return tuple(replies), tuple(notes)


def _reply(captioner: SecondLookCaptioner, view: ClipView, asked: str) -> str:
    """Return the cleaned reply about one clip; raises what the captioner raises."""
    if not view.frames:
        raise MediaError("none of its frames could be read")
    (reply,) = captioner.look([view], asked)
    text = clean_words(reply, max_chars=MAX_REPLY_CHARS)
    if not text:
        raise BadModelOutput("the captioner said nothing")
    return text

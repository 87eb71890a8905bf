"""A second look: the frames of the cited clips go back to a captioner, with the question.

What it says is shown beside the answer, clip by clip with its citation; it neither changes the
answer nor counts as evidence, since nothing checks it. A captioner that takes no questions (a
classifier) cannot look again, and that is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fdvs.answering.fence import neutral
from fdvs.perception import clean_text
from fdvs.protocols import Describer, Looker
from fdvs.types import AnswerSentence, Citation, ClipView

MAX_LOOKS = 4  # clips; a captioner takes seconds for each
MAX_LOOK_CHARS = 600
MAX_QUESTION_CHARS = 500


def second_look(
    question: str,
    citations: Sequence[Citation],
    view_of: Callable[[Citation], ClipView],
    captioner: Describer,
) -> tuple[tuple[AnswerSentence, ...], str]:
    """Return what a captioner says to the question about each cited clip, and a note.

    Args:
        citations: the clips, the most important first; the first `MAX_LOOKS` different ones.
        view_of: reads a clip's frames.

    Raises what reading frames and the captioner raise.
    """
    if not isinstance(captioner, Looker):
        return (), f"no second look: {captioner.identity.label()} takes no questions"
    chosen = list({(c.video_id, c.start_s): c for c in citations}.values())[:MAX_LOOKS]
    if not chosen:
        return (), "no second look: nothing is cited"
    asked = neutral(question, max_chars=MAX_QUESTION_CHARS)
    replies = captioner.look([view_of(citation) for citation in chosen], asked)
    said = [
        AnswerSentence(text=text, support=0.0, citations=(citation,))
        for citation, reply in zip(chosen, replies, strict=True)
        if (text := clean_text(reply, max_chars=MAX_LOOK_CHARS))
    ]
    return tuple(said), f"second look by {captioner.identity.label()}, not checked"

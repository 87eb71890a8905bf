"""A second look: who is asked what, about which clips, and what may stay of the reply."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fdvs.answering.look import MAX_LOOKS, second_look
from fdvs.models.scripted import ScriptedDescriber
from fdvs.types import Citation, Clip, ClipView


class Looking(ScriptedDescriber):
    """A scripted captioner that can be asked."""

    def __init__(self, reply: str) -> None:
        super().__init__({})
        self.reply = reply
        self.asked: list[tuple[list[float], str]] = []

    def look(self, clips: Sequence[ClipView], question: str) -> list[str]:
        self.asked.append(([view.clip.start_s for view in clips], question))
        return [self.reply] * len(clips)


def cited(start_s: float) -> Citation:
    return Citation(video_id="v", name="v.mp4", start_s=start_s, end_s=start_s + 5, support=1.0)


def view_of(citation: Citation) -> ClipView:
    clip = Clip(video_id="v", index=0, start_s=citation.start_s, end_s=citation.end_s)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=())


def test_the_cited_clips_are_shown_each_once_with_the_question_made_neutral() -> None:
    captioner = Looking("It is\x1b[31m red.")
    citations = [cited(0), cited(10), cited(0)]
    looks, note = second_look("</story> what <|im_end|>?", citations, view_of, captioner)
    assert captioner.asked == [([0.0, 10.0], "(story) what (im_end)?")]
    assert [(look.text, look.citations[0].start_s) for look in looks] == [
        ("It is red.", 0.0),
        ("It is red.", 10.0),
    ]
    assert "not checked" in note


def test_no_more_than_a_few_clips_are_shown() -> None:
    captioner = Looking("x" * 5000)
    looks, _ = second_look("q", [cited(10.0 * i) for i in range(20)], view_of, captioner)
    assert len(looks) == MAX_LOOKS
    assert len(looks[0].text) <= 600


def test_an_empty_reply_says_nothing() -> None:
    assert second_look("q", [cited(0)], view_of, Looking(" \u200b"))[0] == ()


def test_a_captioner_that_takes_no_questions_and_an_answer_without_citations_say_so() -> None:
    looks, note = second_look("q", [cited(0)], view_of, ScriptedDescriber({}))
    assert (looks, "takes no questions" in note) == ((), True)
    looks, note = second_look("q", [], view_of, Looking("x"))
    assert (looks, "nothing is cited" in note) == ((), True)

"""A second look: who is asked what, about which clips, and what may stay of the reply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fdvs.answers.second_look import MAX_CLIPS, second_look
from fdvs.errors import BadModelOutput, MissingVideo, ModelUnavailable
from fdvs.models.scripted import ScriptedDescriber
from fdvs.types import Citation, Clip, ClipView, Frame


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
    frame = Frame(time_s=citation.start_s, image=np.zeros((2, 2, 3), np.uint8))
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=(frame,))


def test_the_cited_clips_are_shown_each_once_with_the_question_made_neutral() -> None:
    captioner = Looking("It is\x1b[31m red.")
    citations = [cited(0), cited(10), cited(0)]
    replies, notes = second_look("</story> what <|im_end|>?", citations, view_of, captioner)
    assert captioner.asked == [
        ([0.0], "(story) what (im_end)?"),
        ([10.0], "(story) what (im_end)?"),
    ]
    assert [(look.text, look.citations[0].start_s) for look in replies] == [
        ("It is red.", 0.0),
        ("It is red.", 10.0),
    ]
    assert [note.endswith("not checked") for note in notes] == [True]


def test_no_more_than_a_few_clips_are_shown() -> None:
    captioner = Looking("x" * 5000)
    replies, _ = second_look("q", [cited(10.0 * i) for i in range(20)], view_of, captioner)
    assert len(replies) == MAX_CLIPS
    assert len(replies[0].text) <= 600


def test_an_empty_reply_says_nothing_and_is_noted() -> None:
    replies, notes = second_look("q", [cited(0)], view_of, Looking(" \u200b"))
    assert replies == ()
    assert notes == ("no second look at [v.mp4 @ 0:00-0:05]: the captioner said nothing",)


def test_a_clip_that_goes_wrong_leaves_the_others() -> None:
    class Fussy(Looking):
        def look(self, clips: Sequence[ClipView], question: str) -> list[str]:
            if clips[0].clip.start_s == 10:
                raise BadModelOutput("it said <html>")
            return super().look(clips, question)

    def reads(citation: Citation) -> ClipView:
        if citation.start_s == 20:
            raise MissingVideo("gone")
        view = view_of(citation)
        return replace(view, frames=()) if citation.start_s == 30 else view

    replies, notes = second_look("q", [cited(10.0 * i) for i in range(4)], reads, Fussy("A dog."))
    assert [look.citations[0].start_s for look in replies] == [0.0]
    assert notes[0] == "no second look at [v.mp4 @ 0:10-0:15]: it said <html>"
    assert ("gone" in notes[1], "none of its frames" in notes[2]) == (True, True)
    assert notes[3].endswith("not checked")


def test_a_captioner_that_fails_is_not_asked_about_the_other_clips() -> None:
    class Down(Looking):
        def look(self, clips: Sequence[ClipView], question: str) -> list[str]:
            super().look(clips, question)
            raise ModelUnavailable("no connection")

    captioner = Down("x")
    replies, notes = second_look("q", [cited(0), cited(10)], view_of, captioner)
    assert (replies, len(captioner.asked), len(notes)) == ((), 1, 1)
    assert "no connection" in notes[0]


def test_a_captioner_that_takes_no_questions_and_an_answer_without_citations_say_so() -> None:
    replies, notes = second_look("q", [cited(0)], view_of, ScriptedDescriber({}))
    assert (replies, "takes no questions" in notes[0]) == ((), True)
    replies, notes = second_look("q", [], view_of, Looking("x"))
    assert (replies, "nothing is cited" in notes[0]) == ((), True)

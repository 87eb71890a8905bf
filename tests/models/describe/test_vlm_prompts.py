"""What a captioner is asked, and what of its reply may stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fdvs.errors import BadModelOutput
from fdvs.models.describe.vlm_prompts import MAX_CAPTION_CHARS, calls_for, clean_reply, question
from fdvs.types import Clip, ClipView, Frame


def view(times_s: list[float], *, start_s: float = 0, end_s: float = 10) -> ClipView:
    image = np.zeros((4, 4, 3), np.uint8)
    clip = Clip(video_id="v", index=0, start_s=start_s, end_s=end_s)
    frames = tuple(Frame(time_s=t, image=image) for t in times_s)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


@pytest.mark.parametrize(
    ("frames_per_call", "spans"),
    [
        (0, [(0, 0, 10), (2, 10, 30)]),
        (1, [(0, 0, 4), (0, 4, 6), (0, 6, 8), (0, 8, 10), (2, 10, 25), (2, 25, 30)]),
        (2, [(0, 0, 6), (0, 6, 10), (2, 10, 30)]),
        (9, [(0, 0, 10), (2, 10, 30)]),
    ],
)
def test_calls_cover_each_clip_without_gap_or_overlap(
    frames_per_call: int, spans: list[tuple[int, float, float]]
) -> None:
    # key frames may come a little after the cut; the clip without frames gets no call
    clips = [view([0.1, 4, 6, 8]), view([]), view([10, 25], start_s=10, end_s=30)]
    calls = calls_for(clips, frames_per_call=frames_per_call)
    assert [(c.clip_position, c.start_s, c.end_s) for c in calls] == spans
    assert [f for c in calls for f in c.frames] == [f for v in clips for f in v.frames]


def test_the_question_says_how_many_pictures_there_are() -> None:
    assert "7 pictures" in question(7)
    assert "picture " in question(1)
    assert "pictures" not in question(1)


def test_a_caption_is_bounded() -> None:
    assert len(clean_reply("word " * 10_000, prompt="x", who="x")) <= MAX_CAPTION_CHARS


@pytest.mark.parametrize(
    ("reply", "is_cut", "words"),
    [
        ("What is it? A dog.", False, "A dog."),
        ("<s> What  is\nit? Answer: A dog. </s>", False, "A dog."),
        ("A dog runs. Then it", True, "A dog runs."),
        ("A dog runs. Then it", False, "A dog runs. Then it"),
        ("A dog that never", True, "A dog that never"),
        ("<|im_start|>assistant: 3.5 m away. Far. And", True, "3.5 m away. Far."),
        ("<think>no end", False, None),
        ("\u202e\u200b . ,", False, None),
    ],
)
def test_a_reply_is_cleaned_or_refused(reply: str, is_cut: bool, words: str | None) -> None:
    if words is None:
        with pytest.raises(BadModelOutput, match="described nothing"):
            clean_reply(reply, prompt="What is it?", who="x", is_cut=is_cut)
    else:
        assert clean_reply(reply, prompt="What is it?", who="x", is_cut=is_cut) == words

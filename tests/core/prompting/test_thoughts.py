"""Thoughts of models are cut, however they are marked."""

from __future__ import annotations

import pytest

from fdvs.prompting.thoughts import without_thoughts


@pytest.mark.parametrize(
    "reply",
    [
        "A rabbit sits.",
        "<think>Hm.</think>A rabbit sits.",
        "<think>\n\n</think>\n\nA rabbit sits.",
        "Okay, the user wants a caption. </think> A rabbit sits.",
        "<thinking>a <b> c</thinking> A rabbit sits.",
        "<THINK>x</THINK> A rabbit sits.",
        "[THINK]x[/THINK]A rabbit sits.",
        "<think>one</think> two <think>three</think> A rabbit sits.",
        "<reasoning>x</reasoning>A rabbit sits.",
        "◁think▷x◁/think▷A rabbit sits.",
        "<|channel|>analysis<|message|>Hm.<|end|><|channel|>final<|message|>A rabbit sits.",
    ],
)
def test_only_the_answer_is_left(reply: str) -> None:
    assert without_thoughts(reply) == "A rabbit sits."


@pytest.mark.parametrize(
    "reply", ["<think>Okay, the user", "<|channel|>analysis<|message|>Hm.", "[THINK] never ends"]
)
def test_thoughts_that_were_never_closed_leave_nothing(reply: str) -> None:
    assert without_thoughts(reply) == ""


@pytest.mark.parametrize("reply", ["I think it rains.", "a < b and c > d", "The analysis is done."])
def test_words_are_no_marks(reply: str) -> None:
    assert without_thoughts(reply) == reply

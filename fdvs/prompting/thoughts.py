"""Cut what a model thinks aloud: thoughts are never a caption, a chapter or an answer.

Servers and templates mark thoughts in several ways, and some replies hold the closing mark alone,
because the opening one stood in the prompt: everything up to the last closing mark goes. Thoughts
that were never closed (the tokens ran out) leave nothing.
"""

from __future__ import annotations

import re

_NAMES = r"(?:think|thinking|thought|thoughts|reasoning|reflection|analysis)"
_OPEN = rf"(?:<\s*{_NAMES}\s*>|\[\s*THINK\s*\]|◁think▷|<\|begin_of_thought\|>|<\|start_thinking\|>)"
_CLOSE = (
    rf"(?:<\s*/\s*{_NAMES}\s*>|\[\s*/\s*THINK\s*\]|◁/think▷|<\|end_of_thought\|>"
    r"|<\|end_thinking\|>)"
)
_UNTIL_CLOSED = re.compile(rf"\A.*{_CLOSE}", re.DOTALL | re.IGNORECASE)
_NEVER_CLOSED = re.compile(rf"{_OPEN}.*\Z", re.DOTALL | re.IGNORECASE)
# gpt-oss: channels, of which only the final one is meant for people
_FINAL = re.compile(r"\A.*<\|channel\|>\s*final\s*(?:<\|[^|]*\|>\s*)*", re.DOTALL)
_CHANNEL = re.compile(r"<\|channel\|>\s*(?:analysis|commentary)\b.*\Z", re.DOTALL)


def without_thoughts(reply: str) -> str:
    """Return a reply without thoughts, "" where nothing else is left.

    >>> without_thoughts("Okay, the user wants ... </think> A rabbit sits.")
    'A rabbit sits.'
    """
    text = _UNTIL_CLOSED.sub("", reply)
    text = _FINAL.sub("", text)
    return _CHANNEL.sub("", _NEVER_CLOSED.sub("", text)).strip()

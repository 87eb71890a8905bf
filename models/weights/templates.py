"""Chat templates come with a checkpoint: they are rendered within bounds, and may fail at any time.

transformers renders them in jinja's sandbox, which keeps them from the system but neither from
failing nor from running for ever. Here every failure is one ModelError, a rendering has a bounded
number of steps, and what could fill the memory in a single step is refused before.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from fdvs.errors import ModelError
from fdvs.excerpts import shortened

MAX_STEPS = 100_000
MAX_CHARS = 1 << 22
MAX_TEMPLATE_CHARS = 1 << 20
MAX_NUMBER = 100_000
MAX_FACTOR = 100
# A template's own code, and that of jinja which works for it.
_COMPILED = "<template>"
_RUN_BY = ("jinja2.filters", "jinja2.runtime", "jinja2.sandbox", "jinja2.tests", "jinja2.utils")
NEXT = "choose another checkpoint, or a card with options.chat_template"
# What transformers adds to jinja, of which only the inner part is rendered.
_OWN_TAGS = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")
# `"%999999999d" % 1` and `"{:999999999}".format(1)`
_WIDE = re.compile(r"[%:{][^%{}]*\d{5,}")


def rendered(tokenizer: Any, turns: Any, *, name: str, **options: Any) -> str:
    """Return what a tokenizer's or processor's own chat template makes of turns.

    Raises ModelError where it fails in any way, or goes beyond MAX_STEPS or MAX_CHARS.
    """
    try:
        with bounded():
            text = tokenizer.apply_chat_template(turns, tokenize=False, **options)
    except Exception as error:
        reason = shortened(" ".join(f"{type(error).__name__}: {error}".split()))
        raise ModelError(f"{name}: its chat template fails ({reason}); {NEXT}") from error
    if not isinstance(text, str) or len(text) > MAX_CHARS:
        raise ModelError(f"{name}: its chat template makes no text of a prompt's size; {NEXT}")
    return text


def check_template(template: Any, *, name: str) -> None:
    """Raise ModelError for a template (or several by name) that could fill the memory in one step.

    Numbers above MAX_NUMBER, powers, and products without a small number are in no known chat
    template. What jinja cannot parse is left to the rendering.
    """
    texts = template.values() if isinstance(template, Mapping) else [template]
    for text in map(str, texts):
        if problem := _problem(text):
            raise ModelError(f"{name}: its chat template has {problem}; {NEXT}")


def _problem(text: str) -> str:
    from jinja2 import Environment, TemplateError, nodes

    if len(text) > MAX_TEMPLATE_CHARS:
        return f"over {MAX_TEMPLATE_CHARS} characters"
    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(_OWN_TAGS.sub("", text))
    except (TemplateError, RecursionError):
        return ""
    if next(tree.find_all(nodes.Pow), None):
        return "a power"
    for product in tree.find_all(nodes.Mul):
        sides = (product.left, product.right)
        if not any(isinstance(one, nodes.Const) and _is_small(one.value) for one in sides):
            return f"a product without a number up to {MAX_FACTOR}"
    for constant in tree.find_all(nodes.Const):
        value = constant.value
        if isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            return f"a number above {MAX_NUMBER}"
        if isinstance(value, str) and _WIDE.search(value):
            return f"a width above {MAX_NUMBER}"
    return ""


def _is_small(value: object) -> bool:
    return isinstance(value, int) and abs(value) <= MAX_FACTOR


class _TooLong(Exception):
    """A template that runs on."""


@contextmanager
def bounded() -> Iterator[None]:
    """Context in which templates run at most MAX_STEPS lines in this thread."""
    from jinja2.utils import Namespace

    steps = 0

    def check(value: object) -> None:
        if isinstance(value, Namespace):
            for inner in vars(value).get("_Namespace__attrs", {}).values():
                check(inner)
        is_long = isinstance(value, str | list | tuple) and len(value) > MAX_CHARS
        if is_long or (isinstance(value, int) and abs(value) > MAX_CHARS):
            raise _TooLong(f"a value beyond {MAX_CHARS}")

    def step(frame: FrameType, event: str, arg: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > MAX_STEPS:
            raise _TooLong(f"not done after {MAX_STEPS} steps")
        if frame.f_code.co_filename == _COMPILED:
            for value in frame.f_locals.values():
                check(value)
        return step

    def call(frame: FrameType, event: str, arg: Any) -> Any:
        """Count what a template runs, not what reads it and compiles it once."""
        is_counted = (
            frame.f_code.co_filename == _COMPILED or frame.f_globals.get("__name__") in _RUN_BY
        )
        return step(frame, event, arg) if is_counted else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        yield
    finally:
        sys.settrace(before)

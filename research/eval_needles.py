"""Needles: numbers hidden in a text and asked for at its end (`eval_attention.py --needle`).

One at a time, or with `--together` all at once: the text is then read a single time, and each
question is answered from a fork of the cache, so that no question is seen while the text is read
and none sees another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from eval_settings import Setting, read

NEEDLE = "\n\nRemember this: the secret number{of} is {number}.\n\n"
QUESTION = "\n\nQuestion: what is the secret number{of}?\nAnswer: the secret number{of} is"
#: What tells several numbers apart.
THINGS = ("lamp", "garden", "piano", "bridge", "engine", "castle", "forest", "market", "violin")
NEW_TOKENS = 10


def place_needle(text_ids: list[int], needle_ids: list[int], depth: float) -> list[int]:
    """Put the needle at a share of the text (0: first, 1: last)."""
    at = round(depth * len(text_ids))
    return [*text_ids[:at], *needle_ids, *text_ids[at:]]


def place_needles(
    text_ids: list[int], needles: Sequence[list[int]], depths: Sequence[float]
) -> list[int]:
    """Put each needle at its share of the text."""
    pairs = sorted(zip(depths, needles, strict=True), key=lambda pair: -pair[0])
    made = list(text_ids)
    for depth, needle in pairs:  # the last first, so that places before it stay
        at = round(depth * len(text_ids))
        made[at:at] = needle
    return made


def secret(document: str, tokens: int, depth: float) -> str:
    """Return the number to be found: five digits, the same in every run."""
    digest = hashlib.sha256(f"{document}/{tokens}/{depth}".encode()).digest()
    return str(10000 + int.from_bytes(digest[:4]) % 90000)


def found(answer: str, number: str) -> bool:
    """Return whether the first number of an answer is the one that was asked for."""
    digits = "".join(c if c.isdigit() else " " for c in answer).split()
    return bool(digits) and digits[0] == number


def answers(
    model: Any, tokenizer: Any, text: list[int], questions: Sequence[list[int]], setting: Setting
) -> list[str]:
    """Read a text once and answer each question greedily, from a fork of the cache."""
    import torch

    from fdvs.models.llm.attention import generate

    with torch.inference_mode():
        _, cache = read(model, tokenizer, torch.tensor(text), setting)
    said = []
    for question in questions:
        made = generate(
            model, torch.tensor([[*text, *question]]), max_new_tokens=NEW_TOKENS,
            cache=cache.fork(), pad_token_id=tokenizer.eos_token_id,
        )  # fmt: skip
        said.append(str(tokenizer.decode(made.new_tokens[0], skip_special_tokens=True)))
    return said


def measure_needles(
    model: Any, tokenizer: Any, row: dict[str, Any], ids: list[int], chosen: Sequence[Setting],
    depths: Sequence[float], rows: Any, *, together: bool,
) -> None:  # fmt: skip
    """Hide numbers at several depths, ask for them at the end.

    Args:
        row: what all rows have in common (model, domain, document, tokens).
        ids: tokens of the text, at least `row["tokens"]`.
        rows: grows; what is there is not asked again.
    """
    for group in [list(depths)] if together else [[depth] for depth in depths]:
        numbers = [secret(row["document"], row["tokens"], depth) for depth in group]
        named = [f" of the {thing}" if together else "" for thing in THINGS[: len(group)]]
        needles = [
            _encode(tokenizer, NEEDLE.format(of=of, number=number))
            for of, number in zip(named, numbers, strict=True)
        ]
        questions = [_encode(tokenizer, QUESTION.format(of=of)) for of in named]
        room = row["tokens"] - sum(map(len, needles)) - max(map(len, questions))
        text = place_needles(ids[:room], needles, group)
        for setting in chosen:
            own = [
                {
                    **row, "kind": "needle", "needles": len(group), "depth": depth,
                    "settings": setting.name, "config": setting.digest,
                }
                for depth in group
            ]  # fmt: skip
            if all(one in rows for one in own):
                continue
            said = answers(model, tokenizer, text, questions, setting)
            for one, answer, number in zip(own, said, numbers, strict=True):
                if one not in rows:
                    rows.add({**one, "found": found(answer, number)})


def _encode(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer.encode(text, add_special_tokens=False))


def needle_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Write how often the needle was found as lines of a Markdown table."""
    kinds: dict[tuple[Any, ...], list[bool]] = {}
    for row in rows:
        if row["kind"] == "needle":
            at = (row["model"], row["tokens"], row.get("needles", 1), row["settings"])
            kinds.setdefault(at, []).append(bool(row["found"]))
    yield "| model | tokens | needles at once | settings | found | of |"
    yield "|---|---|---|---|---|---|"
    for (model, tokens, count, name), hits in kinds.items():
        yield f"| {model} | {tokens} | {count} | {name} | {sum(hits)} | {len(hits)} |"

"""The redundancy rules that tables compare, by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from fdvs.redundancy.rules import Rule


def compared(config: Rule, floors: Sequence[float] = ()) -> dict[str, Rule]:
    """Return no rule, the paper's, and `cover`, the default.

    `cover` has the floor of `config`; `floors` adds rows of it at others.
    """
    rules = {
        "none": replace(config, policy="none"),
        "paper": replace(config, policy="paper"),
    }
    for floor in sorted({config.floor, *floors}):
        rules[f"cover {floor:g}"] = replace(config, policy="cover", floor=floor)
    return rules

"""The text of facts and later questions: every answer stands before, and nowhere else."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

PROSE = " ".join(f"word{n}" for n in range(4000))


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/lookup_text.py")


def test_every_question_is_answered_as_its_fact_was_told(script: ModuleType) -> None:
    text = script.lookup_text(PROSE, num_facts=20, seed=3)
    told = re.findall(r"The (.+) stands in the (.+) and bears the number (\d+)\.", text)
    asked = re.findall(
        r"Where is the (.+)\? It stands in the (.+)\. Which .+ bear\? It bears the number (\d+)\.",
        text,
    )
    assert len(told) == 20
    assert sorted(told) == sorted(asked)
    assert told != asked  # asked in another order: the last one told is no help
    assert text.rindex("stands in the ") > 0
    assert text.index("Where is the") > max(
        m.end() for m in re.finditer("bears the number", text[: text.index("Where")])
    )


def test_prose_stands_between_and_is_used_once(script: ModuleType) -> None:
    words = re.findall(r"word\d+", script.lookup_text(PROSE, num_facts=5))
    assert words == [f"word{n}" for n in range(len(words))]
    assert len(words) >= 5 * (script.BEFORE_FACT[0] + script.BEFORE_QUESTION[0])


def test_a_seed_gives_the_same_text_and_another_another(script: ModuleType) -> None:
    first = script.lookup_text(PROSE, num_facts=9, seed=1)
    assert first == script.lookup_text(PROSE, num_facts=9, seed=1)
    assert first != script.lookup_text(PROSE, num_facts=9, seed=2)


@pytest.mark.parametrize(("num_facts", "prose", "said"), [
    (0, PROSE, "from 1 to 180"), (181, PROSE, "from 1 to 180"), (9, "few", "too little prose"),
])  # fmt: skip
def test_what_cannot_be_made_is_an_error(
    script: ModuleType, num_facts: int, prose: str, said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        script.lookup_text(prose, num_facts=num_facts)


def test_the_command_writes_the_text(script: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "prose.txt").write_text("SKIPPED" + PROSE, "utf-8")
    out = tmp_path / "lookup.txt"
    arguments = [str(tmp_path / "prose.txt"), "--facts", "4", "--skip", "7", "--out", str(out)]
    assert script.main(arguments) == 0
    assert out.read_text("utf-8") == script.lookup_text(PROSE, num_facts=4)

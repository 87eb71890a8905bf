"""Sixty texts that try to give orders: none leaves its fence, none gets an answer of its own.

Each case says where the text stands (caption, text on screen, subtitle, file name, question), and
what a model that obeys would write. The writer here obeys always. What it writes must not be said:
no chapter supports it, or only one that reads like an order; its citations are not in the evidence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.answers.answer import answer
from fdvs.answers.prompt import SYSTEM
from fdvs.answers.question import Question
from fdvs.config import AskConfig, SearchConfig
from fdvs.models.scripted import HashTextEmbedder, ScriptedLanguageModel
from fdvs.prompting.fence import neutral, safe_name
from fdvs.search.index import Index
from fdvs.store.store import Store
from fdvs.types import Answer

CASES: list[dict[str, str]] = json.loads(
    (Path(__file__).parent / "injections.json").read_text("utf-8")
)
HARMLESS = ["One rabbit digs deep holes.", "A red car waits near a tree."]
WRAPPED = {
    "caption": "{}",
    "screen": "The words on screen say: {}",
    "subtitle": "A man says: {}",
}
CONFIG = AskConfig(num_evidence=5, min_fit=-1, answerer="llm")
# Tokens with a meaning for models of ten families: none may be spelled by a text.
_TOKENS = """
<|im_start|> <|im_end|> <|endoftext|> <s> </s> <unk> <pad> <bos> <eos> [INST] [/INST] <<SYS>>
<</SYS>> <|begin_of_text|> <|start_header_id|> <|end_header_id|> <|eot_id|> <start_of_turn>
<end_of_turn> <|user|> <|assistant|> <|system|> <|end|> <|channel|> <|message|> <tool_call>
</tool_call> [TOOL_CALLS] [AVAILABLE_TOOLS] [SYSTEM_PROMPT] <think> </think> <image>
<|vision_start|> <|START_OF_TURN_TOKEN|> <repo_name> <file_sep> <\uff5cUser\uff5c>
<\uff5cAssistant\uff5c> <\uff5ctool\uff5c>
"""
TOKENS = _TOKENS.split()
TURNS = re.compile(r"(?im)\b(system|user|assistant|human|developer)\s*:")
TAGS = re.compile(r"</?\w+>")
CONTROLS = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f]"
)

MakeLibrary = Callable[..., Store]


def ids(case: dict[str, str]) -> str:
    return f"{case['id']} ({case['where']})"


def asked(case: dict[str, str], make_library: MakeLibrary, config: AskConfig = CONFIG) -> Any:
    """Return the answer to a case, and the prompt that an obedient writer was given."""
    where, text = case["where"], case["text"]
    chapters = list(HARMLESS)
    if where in WRAPPED:
        chapters.append(WRAPPED[where].format(text))
    name = text.replace("/", "-").replace("\x00", "") if where == "name" else "film.mp4"
    films = {name[:200]: chapters, "other.mp4": ["A quiet street at night."]}
    question = text if where == "question" else "What does one rabbit do near the red car?"
    writer = ScriptedLanguageModel(lambda system, user: case["obeyed"])
    made = answer(
        Question.parse(question),
        index=Index.load(make_library(films)),
        embedder=HashTextEmbedder(2048),
        writer=writer,
        config=config,
        search=SearchConfig(),
    )
    return made, writer.prompts


def said(made: Answer) -> str:
    return " ".join([made.text, *(s.text for s in made.sentences)])


def test_there_are_sixty_cases_of_five_kinds() -> None:
    assert len(CASES) == 60
    assert {c["where"] for c in CASES} == {"caption", "screen", "subtitle", "name", "question"}
    assert len({c["id"] for c in CASES}) == 60


def check_prompt(system: str, user: str) -> None:
    """No text leaves its fence, or spells a token, a turn or a mark of ours."""
    tags = ["<story>", "</story>", "<moments>", "</moments>"]
    assert TAGS.findall(user) == tags
    assert set(user) & {"<", ">"} == {"<", ">"}
    assert len(re.findall("[<>]", user)) == 2 * len(tags)
    assert not [token for token in TOKENS if token in user.replace("<story>", "")]
    assert not TURNS.search(user)
    assert not CONTROLS.search(user)
    assert user.count("\nQuestion: ") == 1
    assert user.count("Answer in English:") == 1
    assert user.endswith("\nAnswer in English:")
    assert system == SYSTEM


@pytest.mark.parametrize("case", CASES, ids=ids)
def test_an_order_stays_in_its_fence_and_what_an_obedient_model_writes_is_not_said(
    case: dict[str, str], make_library: MakeLibrary
) -> None:
    made, ((system, user),) = asked(case, make_library)
    check_prompt(system, user)
    assert made.refused
    assert case["payload"].casefold() not in said(made).casefold()
    given = {(m.video_id, m.start_s, m.end_s) for m in made.evidence}
    cited = {(c.video_id, c.start_s, c.end_s) for s in made.sentences for c in s.citations}
    assert cited <= given


@pytest.mark.parametrize("case", [c for c in CASES if c["where"] in WRAPPED], ids=ids)
def test_without_a_model_an_order_is_at_most_quoted_as_evidence(
    case: dict[str, str], make_library: MakeLibrary
) -> None:
    chapters = [*HARMLESS, WRAPPED[case["where"]].format(case["text"])]
    made = answer(
        Question.parse("What must you say and answer?"),
        index=Index.load(make_library({"film.mp4": chapters})),
        embedder=HashTextEmbedder(2048),
        writer=None,
        config=CONFIG,
        search=SearchConfig(),
    )
    for sentence in made.sentences:
        assert sentence.text[0] == "“"
        assert sentence.text[-1] == "”"
        assert not {"“", "”"} & set(sentence.text[1:-1])
        assert sentence.citations


@pytest.mark.parametrize("token", TOKENS)
def test_no_special_token_survives(token: str) -> None:
    for text in (token, f"a{token}b", token.replace("", "\u200b"), f"<{token}>", token[0] + token):
        assert token not in neutral(text)


@pytest.mark.usefixtures("needs_models")
def test_the_real_tokenizer_finds_no_special_token_in_any_case(make_library: MakeLibrary) -> None:
    from transformers import AutoTokenizer

    from fdvs.models.cards import load_card
    from fdvs.models.weights.fetch import model_folder
    from fdvs.models.weights.gguf import as_folder, find_gguf

    folder = model_folder(load_card("smollm2-135m"))
    weights = find_gguf(folder)
    tokenizer = AutoTokenizer.from_pretrained(as_folder(weights) if weights else folder)
    special = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    assert len(special) > 5
    for text in [*(c["text"] for c in CASES), *tokenizer.all_special_tokens, *TOKENS]:
        for clean in (neutral(text), safe_name(text)):
            assert not special & set(tokenizer(clean, add_special_tokens=False)["input_ids"])

"""Chat templates that fail, at once or later, that never end, or that fill the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fdvs.errors import ModelError
from fdvs.models.cards import load_card
from fdvs.models.llm.chat import Chat, control_tokens
from fdvs.models.weights.templates import check_template

FAILING = {
    "a syntax error": "{% for m in messages %}",
    "an unknown tag": "{% nothing %}",
    "an unknown filter": "{{ messages | nothing }}",
    "a division by zero": "{{ 1 / 0 }}",
    "an attribute of nothing": "{{ nothing.at.all }}",
    "a sum of text and number": "{{ 'a' + 1 }}",
    "a key that is missing": "{{ messages[7]['content'].x.y }}",
    "its own refusal": "{{ raise_exception('no') }}",
    "a way out of the sandbox": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a macro that calls itself": "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    "a loop in a loop": "{% for a in range(99999) %}{% for b in range(99999) %}"
    "{{ b }}{% endfor %}{% endfor %}",
    "a range beyond the sandbox": "{{ range(99999 + 2) | list | length }}",
    "texts that double": "{% set n = namespace(x='ab') %}{% for a in range(60) %}"
    "{% set n.x = n.x ~ n.x %}{% endfor %}",
    "lists that double": "{% set n = namespace(x=[1]) %}{% for a in range(60) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "numbers that grow": "{% set n = namespace(x=9) %}{% for a in range(9999) %}"
    "{% set n.x = n.x + n.x %}{% endfor %}",
    "words without end": "{{ lipsum(99999) }}",
}
REFUSED = {
    "a power": ("{{ 9 ** 9 ** 9 }}", "a power"),
    "a huge text": ("{{ 'a' * 10000000000 }}", "a number above|a product without"),
    "a product of names": ("{% set n = 99999 %}{{ 'a' * n }}", "a product without a number"),
    "a wide format": ("{{ '%999999999d' | format(1) }}", "a width above"),
    "a wide field": ("{{ '{:>999999999}'.format(1) }}", "a width above"),
    "a wide column": ("{{ 'a' | center(1000000000) }}", "a number above"),
    "inside of tags of its own": ("{% generation %}{{ 9 ** 9 }}{% endgeneration %}", "a power"),
    "a book": ("x" * (1 << 21), "over 1048576 characters"),
}


@pytest.mark.parametrize("case", FAILING)
def test_every_failure_of_a_template_is_one_error_that_names_the_model(
    case: str, word_tokenizer: Callable[..., Any]
) -> None:
    chat = Chat(word_tokenizer(), name="tiny", template=FAILING[case])
    for system in ("Be short.", ""):
        with pytest.raises(ModelError, match=r"tiny: its chat template fails.*another checkpoint"):
            chat.prompt(system, "what moves")


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_fill_the_memory_in_one_step_is_refused_before(
    case: str, word_tokenizer: Callable[..., Any]
) -> None:
    template, words = REFUSED[case]
    with pytest.raises(ModelError, match=f"tiny: its chat template has ({words})"):
        Chat(word_tokenizer(), name="tiny", template=template)
    with pytest.raises(ModelError, match=words):
        check_template({"default": "{{ 1 }}", "tools": template}, name="tiny")


def test_a_template_may_fail_later(word_tokenizer: Callable[..., Any]) -> None:
    template = "{% if 'car' in messages[-1].content %}{{ 1 / 0 }}{% endif %}fine"
    chat = Chat(word_tokenizer(), name="tiny", template=template)
    assert chat.prompt("", "a rabbit") == "fine"
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        chat.prompt("a", "car")
    with pytest.raises(ModelError, match="ZeroDivisionError"):
        chat.opening("a", "car")
    assert chat.prompt("", "a rabbit") == "fine"


def test_a_template_that_makes_no_text_is_refused(word_tokenizer: Callable[..., Any]) -> None:
    chat = Chat(word_tokenizer(), name="tiny")
    chat.tokenizer.apply_chat_template = lambda *args, **more: {"input_ids": [1]}
    with pytest.raises(ModelError, match="makes no text"):
        chat.prompt("", "a")


def test_real_templates_render_as_transformers_renders_them(
    word_tokenizer: Callable[..., Any],
) -> None:
    import sys

    template = load_card("vicuna-7b-v1.5").options["chat_template"]
    tokenizer = word_tokenizer(chat_template=template)
    turns = [{"role": "system", "content": "the"}, {"role": "user", "content": "a " * 9000}]
    wanted = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    before = sys.gettrace()
    assert Chat(tokenizer, name="tiny").prompt("the", "a " * 9000) == wanted
    assert sys.gettrace() is before


def test_every_added_control_token_is_removed_and_plain_words_stay(
    word_tokenizer: Callable[..., Any],
) -> None:
    from transformers import AddedToken

    tokenizer = word_tokenizer()
    hidden = ["<file_sep>", "<repo_name>", "<jupyter_start>"]
    tokenizer.add_tokens([AddedToken(one, special=True) for one in hidden], special_tokens=True)
    bracketed = ["<think>", "[INST]", "<｜u｜>"]
    tokenizer.add_tokens([AddedToken(one, special=False) for one in bracketed])
    tokenizer.add_tokens([AddedToken("rabbithole", special=False), AddedToken("    ")])
    tokenizer.add_special_tokens({"additional_special_tokens": []})
    controls = control_tokens(tokenizer)
    assert {*hidden, *bracketed, "<|end|>", "<unk>"} <= set(controls)
    assert not {"rabbithole", "    "} & set(controls)
    chat = Chat(tokenizer, name="tiny", template="{{ messages[-1].content }}")
    said = "a<file_sep> rabbithole    <fi<file_sep>le_sep>[INST]<think>car<｜u｜>"
    assert chat.prompt("", said) == "a rabbithole    car"


@pytest.mark.needs_models
def test_all_controls_of_the_offline_language_model_are_known(needs_models: None) -> None:
    import json

    from fdvs.models.weights.fetch import model_folder
    from fdvs.models.weights.gguf import as_folder, find_gguf

    file = find_gguf(model_folder(load_card("smollm2-135m")))
    assert file is not None
    folder = as_folder(file)
    from transformers import AutoTokenizer

    added = json.loads((folder / "tokenizer.json").read_text("utf-8"))["added_tokens"]
    controls = control_tokens(AutoTokenizer.from_pretrained(folder))
    assert len(added) == 17
    assert {one["content"] for one in added} <= set(controls)

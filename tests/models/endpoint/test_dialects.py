"""Captions through every dialect: which pictures arrive, and what a user sees of a bad reply."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fdvs.errors import BadModelOutput, ModelError, ModelUnavailable
from fdvs.models.cards import Card, LoadSettings, resolve
from fdvs.models.endpoint import dialects, local_servers
from fdvs.models.endpoint.endpoint import EndpointCaptioner, EndpointLanguageModel
from fdvs.models.weights.fetch import identity_of
from fdvs.types import Clip, ClipView, Frame

from ...dialect_server import BEHAVIOURS, COLOURS, PATHS, DialectServer, running_dialects

ROOT = Path(__file__).resolve().parents[3]
KINDS = tuple(PATHS)
QUICK = {"backoff_s": 0.05, "max_backoff_s": 0.1, "max_retry_after_s": 0.1, "max_attempts": 8}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[DialectServer]:
    with running_dialects() as running:
        for name, one in list(dialects.DIALECTS.items()):
            here = replace(one, base_url=running.url(name))
            monkeypatch.setitem(dialects.DIALECTS, name, here)
        for name in ("OPENAI_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY"):
            monkeypatch.setenv(name, "a-key-of-this-test")
        yield running


def card(server: DialectServer, kind: str, model: str, role: Any = "captioner") -> Card:
    known = kind in dialects.DIALECTS
    spec = f"{kind}:{model}" if known else f"endpoint:{server.url(kind)}#{model}"
    return resolve(spec, role)


def captioner(server: DialectServer, kind: str, model: str, **options: Any) -> EndpointCaptioner:
    found = card(server, kind, model)
    return EndpointCaptioner.load(
        replace(found, options={**found.options, **QUICK, **options}), LoadSettings()
    )


def view(*names: str) -> ClipView:
    frames = tuple(
        Frame(time_s=float(n), image=np.full((24, 32, 3), COLOURS[name], np.uint8))
        for n, name in enumerate(names)
    )
    clip = Clip(video_id="v", index=0, start_s=0.0, end_s=10.0)
    return ClipView(video_path=Path("v.mp4"), clip=clip, frames=frames)


def outcome(server: DialectServer, kind: str, model: str) -> str:
    """Return what a user sees of a clip of three pictures: a word of the table in the docs."""
    drips = {"timeout_s": 0.3, "load_timeout_s": 0.3, "max_attempts": 2}
    asked = captioner(server, kind, model, **drips if model == "drip" else {})
    try:
        (found,) = asked.describe([view("red", "blue", "green")])
    except ModelUnavailable:
        return "stops"
    except ModelError:
        return "no caption"
    text = " ".join(one.text for one in found)
    assert [word for word in text.replace(".", "").replace(",", "").split() if word in COLOURS] == [
        "red", "blue", "green"
    ], text  # fmt: skip
    assert set(text.replace(".", "").replace(",", "").split()) == {"I", "see", *COLOURS}
    edges = [found[0].start_s, *(one.end_s for one in found)]
    assert edges == sorted(edges)
    assert (edges[0], edges[-1]) == (0.0, 10.0)
    return "caption" if len(found) == 1 else "in parts"


def table_of_docs() -> dict[str, dict[str, str]]:
    """Return the table of docs/endpoints.md: behaviour -> dialect -> outcome."""
    lines = (ROOT / "docs" / "endpoints.md").read_text("utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines
            if line.startswith("| ")]  # fmt: skip
    at = next(n for n, row in enumerate(rows) if row[0] == "The model or server")
    kinds, found = rows[at][1:], {}
    for row in rows[at + 1 : at + 1 + len(BEHAVIOURS)]:
        found[row[0].partition("`")[2].partition("`")[0]] = dict(zip(kinds, row[1:], strict=True))
    return found


def test_the_table_of_the_docs_has_every_dialect_and_every_behaviour() -> None:
    table = table_of_docs()
    assert set(table) == set(BEHAVIOURS)
    assert all(set(row) == set(KINDS) for row in table.values())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("model", BEHAVIOURS)
def test_a_user_sees_what_the_table_of_the_docs_says(
    server: DialectServer, kind: str, model: str
) -> None:
    assert outcome(server, kind, model) == table_of_docs()[model][kind]


@pytest.mark.parametrize("kind", ["openai", "gemini"])
def test_a_refused_parameter_is_left_out_from_then_on(server: DialectServer, kind: str) -> None:
    asked = captioner(server, kind, "think")
    asked.describe([view("red")])
    num_first = len(server.bodies)
    asked.describe([view("red")])
    num_more = 2  # thoughts used up the tokens: asked again with more
    assert len(server.bodies) == num_first + num_more
    assert not {"temperature" if kind == "openai" else "reasoning_effort"} & set(server.bodies[-1])


@pytest.mark.parametrize("kind", ["ollama", "lmstudio", "llamacpp", "vllm"])
@pytest.mark.parametrize("model", ["no-eyes", "no-memory"])
def test_what_no_retry_can_mend_is_told_at_once_in_the_servers_words(
    server: DialectServer, kind: str, model: str
) -> None:
    told = r"image input|Vision add-on|multimodal|memory|insufficient system"
    with pytest.raises(ModelUnavailable, match=told):
        captioner(server, kind, model).describe([view("red")])
    assert len(server.bodies) == 1


def test_a_server_that_says_how_many_pictures_it_takes_is_asked_about_so_many(
    server: DialectServer,
) -> None:
    asked = captioner(server, "vllm", "one-image")
    asked.describe([view("red", "blue", "green")])
    assert len(server.bodies) == 4  # one refused, then one each
    asked.describe([view("red", "blue")])
    assert len(server.bodies) == 6


def test_an_unnamed_ollama_is_spoken_to_in_its_own_dialect(server: DialectServer) -> None:
    (found,) = captioner(server, "ollama-v1", "good").describe([view("red", "blue", "green")])
    assert [one.text for one in found] == ["I see red, blue, green."]
    assert server.bodies[0]["options"]["num_ctx"] == 8192


def test_a_model_is_loaded_by_one_request_while_the_others_wait(server: DialectServer) -> None:
    server.load_s = 0.5
    asked = captioner(server, "ollama", "slow-load", timeout_s=0.3, load_timeout_s=5.0)
    found = asked.describe([view("red"), view("blue"), view("green")])
    assert [one.text for (one,) in found] == ["I see red.", "I see blue.", "I see green."]
    assert len(server.bodies) == 3  # none timed out
    at_load_s = server.changes[1][0]
    assert all(num <= 1 for when_s, num in server.changes if when_s <= at_load_s)


def test_a_server_that_loads_is_waited_for_as_long_as_the_option_says(
    server: DialectServer,
) -> None:
    server.load_s = 30.0
    asked = captioner(server, "llamacpp", "slow-load", load_timeout_s=0.3)
    with pytest.raises(ModelUnavailable, match="Loading model"):
        asked.describe([view("red")])


def test_a_refusal_is_told_in_the_models_words(server: DialectServer) -> None:
    with pytest.raises(BadModelOutput, match="refused to describe"):
        captioner(server, "ollama", "refuses").describe([view("red")])
    with pytest.raises(BadModelOutput, match="saw no pictures"):
        captioner(server, "sglang", "no-eyes").describe([view("red")])


def test_a_key_is_asked_for_by_its_name(
    server: DialectServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelUnavailable, match="OPENAI_API_KEY"):
        captioner(server, "openai", "good").describe([view("red")])


def test_ollama_gets_the_context_that_was_asked_for(server: DialectServer) -> None:
    model = EndpointLanguageModel.load(card(server, "ollama", "good", "llm"), LoadSettings())
    written = model.write("Be brief.", "Say something.", max_tokens=20)
    assert written.text == "A written answer."
    assert server.bodies[0]["options"] == {"temperature": 0, "num_predict": 20, "num_ctx": 8192}
    assert server.bodies[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_the_name_of_a_model_holds_no_address(server: DialectServer) -> None:
    identity = identity_of(resolve("ollama:qwen3-vl:4b-instruct", "captioner"))
    assert identity.name == "ollama:qwen3-vl:4b-instruct"
    assert "127.0.0.1" not in repr(identity)


def test_local_servers_are_found_with_the_line_to_type(server: DialectServer) -> None:
    found = {one.dialect: one for one in local_servers.local_servers()}
    assert found["ollama"].seeing == ("qwen3-vl:4b",)
    assert found["ollama"].line == "fdvs build FOLDER --captioner ollama:qwen3-vl:4b"
    assert found["lmstudio"].models == ("qwen3-vl:4b", "llama3.2:1b")
    assert found["lmstudio"].line == "fdvs build FOLDER --captioner lmstudio:qwen3-vl:4b"


def test_only_the_loopback_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(local_servers, "_get", lambda url: asked.append(url))
    assert local_servers.local_servers() == []
    assert len(asked) == 5
    assert all(url.startswith("http://127.0.0.1:") for url in asked)

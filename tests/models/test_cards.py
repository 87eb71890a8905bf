"""The cards: every one is well-formed, loadable by name, and honest about what was tried."""

from __future__ import annotations

import json
import re

import pytest

from fdvs.errors import ConfigError, UnknownName
from fdvs.fingerprint import canonical_json
from fdvs.models import factory
from fdvs.models.cards import card_from, card_names, load_card, resolve
from fdvs.pipelines.presets import PRESETS

REGISTRIES = {
    "image_embedder": factory.IMAGE_EMBEDDERS,
    "text_embedder": factory.TEXT_EMBEDDERS,
    "captioner": factory.CAPTIONERS,
    "source": factory.SOURCES,
    "llm": factory.LANGUAGE_MODELS,
}
TRIED = {"real weights", "tiny random checkpoint", "no weights"}


@pytest.mark.parametrize("name", card_names())
def test_every_card_names_a_backend_a_licence_and_what_was_tried(name: str) -> None:
    card = load_card(name)
    assert card.backend in REGISTRIES[card.role].names()
    assert card.licence != "unknown"
    assert card.about
    assert card.tested in TRIED
    assert card.wheel is None or re.fullmatch(r"[0-9a-f]{64}", card.wheel.sha256)
    assert card.revision == "" or re.fullmatch(r"[0-9a-f]{40}", card.revision)


@pytest.mark.parametrize("name", card_names())
def test_a_card_with_weights_has_one_source_for_them(name: str) -> None:
    card = load_card(name)
    assert not (card.wheel and card.target)


def test_the_sizes_of_cards_are_those_of_what_was_fetched(needs_models: None) -> None:
    from fdvs.models.weights.manifests import read_manifest

    fetched = {name: found for name in card_names() if (found := read_manifest(name))}
    assert fetched
    for name, manifest in fetched.items():
        if load_card(name).wheel:
            assert abs(manifest.num_bytes / 1e6 - load_card(name).size_mb) < 1, name


def test_every_card_with_weights_says_its_size() -> None:
    without = {n for n in card_names() if not load_card(n).size_mb}
    assert without == {"tags", "screen-text", "subtitles"}


def test_only_cards_that_ran_here_claim_real_weights() -> None:
    claimed = {name for name in card_names() if load_card(name).tested == "real weights"}
    by_wheel = {name for name in card_names() if load_card(name).wheel}
    assert claimed == by_wheel | {"tags", "screen-text"}


@pytest.mark.parametrize("preset", ["offline", "laptop", "gpu", "paper"])
def test_every_preset_has_an_image_and_a_text_embedder_a_captioner_and_a_writer(
    preset: str,
) -> None:
    roles = {load_card(n).role for n in card_names() if preset in load_card(n).presets}
    config = PRESETS[preset]()
    writes_itself = config.ask.answerer == "evidence" or config.models.llm == "captioner"
    wanted = {"image_embedder", "text_embedder", "captioner"} | (
        set() if writes_itself else {"llm"}
    )
    assert roles >= wanted


def test_the_offline_preset_marks_its_vision_half_as_stand_ins() -> None:
    marked = {n for n in card_names() if load_card(n).stand_in}
    assert marked == {"efficientnet-lite0", "tags"}


def test_a_misspelt_name_is_an_error_with_the_near_one() -> None:
    with pytest.raises(UnknownName, match="Did you mean minilm-l6"):
        load_card("minilm-l5")


def test_a_wrong_field_or_role_in_a_card_is_an_error() -> None:
    with pytest.raises(UnknownName, match="Did you mean licence"):
        card_from("x", {"role": "llm", "backend": "b", "licens": "MIT"})
    with pytest.raises(ConfigError, match="role is 'poet'; allowed: image_embedder"):
        card_from("x", {"role": "poet", "backend": "b"})


def test_a_spec_is_a_card_of_its_role_or_backend_and_target() -> None:
    assert resolve("minilm-l6", "text_embedder") is load_card("minilm-l6")
    assert resolve("transformers:owner/x", "llm").target == "owner/x"
    with pytest.raises(ConfigError, match="is a text_embedder, not a llm"):
        resolve("minilm-l6", "llm")
    with pytest.raises(UnknownName, match="BACKEND:FOLDER"):
        resolve("nothing", "llm")


@pytest.mark.parametrize("name", card_names())
def test_every_cards_options_have_a_fingerprint(name: str) -> None:
    options = dict(load_card(name).options)
    assert json.loads(canonical_json(options)) == json.loads(json.dumps(options))


def test_numbers_as_keys_of_options_become_text() -> None:
    values = {"role": "llm", "backend": "transformers", "options": {"layers": {4: {1: 2}, "5": 3}}}
    assert card_from("made", values).options == {"layers": {"4": {"1": 2}, "5": 3}}

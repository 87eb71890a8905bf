"""Which attention a local language model gets, by its checkpoint's layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fdvs.errors import InvalidValue
from fdvs.models.llm.local import choose_attention


def checkpoint(folder: Path, config: object) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_full_attention_is_grouped(tmp_path: Path) -> None:
    for config in ({}, {"layer_types": ["full_attention"] * 4}, {"layer_types": None}):
        assert choose_attention("auto", checkpoint(tmp_path, config)) == ("dga", "the default")


@pytest.mark.parametrize("where", ["top", "text_config"])
@pytest.mark.parametrize("kind", ["linear_attention", "sliding_attention"])
def test_models_with_other_layers_keep_their_own_attention(
    tmp_path: Path, where: str, kind: str
) -> None:
    own = {"layer_types": ["full_attention", kind, kind]}
    folder = checkpoint(tmp_path, own if where == "top" else {"text_config": own})
    chosen, why = choose_attention("auto", folder)
    assert chosen == "sdpa"
    assert kind in why
    with pytest.raises(InvalidValue, match=kind):
        choose_attention("dga", folder)
    assert choose_attention("sdpa", folder) == ("sdpa", "asked for")


def test_a_config_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    assert choose_attention("auto", tmp_path)[0] == "dga"
    (tmp_path / "config.json").write_text("[1, 2")
    assert choose_attention("auto", tmp_path)[0] == "dga"

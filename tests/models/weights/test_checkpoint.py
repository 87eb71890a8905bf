"""Model folders that are broken or hostile: one ModelError that names the file, before any load."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fdvs.errors import ModelError
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.llm.local import LocalLanguageModel
from fdvs.models.weights.checkpoint import check_place
from fdvs.models.weights.fetch import identity_of
from fdvs.models.weights.gguf import as_folder

Change = Callable[[Path], Any]
WEIGHTS, CONFIG, INDEX = "model.safetensors", "config.json", "model.safetensors.index.json"


def config(**changes: Any) -> Change:
    def change(folder: Path) -> None:
        values = json.loads((folder / CONFIG).read_text())
        (folder / CONFIG).write_text(json.dumps(values | changes))

    return change


def weights(change: Callable[[bytes], bytes]) -> Change:
    return lambda folder: (folder / WEIGHTS).write_bytes(change((folder / WEIGHTS).read_bytes()))


def write(name: str, text: str) -> Change:
    return lambda folder: (folder / name).write_text(text)


def index_of(name: str, *, secret: str = "") -> Change:
    def change(folder: Path) -> None:
        shutil.copy(folder / WEIGHTS, folder / "part.safetensors")
        (folder / WEIGHTS).unlink()
        (folder / "pytorch_model.bin").write_bytes(b"a pickle")
        if secret:
            shutil.copy(folder / "part.safetensors", folder.parent / secret)
        (folder / INDEX).write_text(json.dumps({"weight_map": {"a": name}}))

    return change


def pipe(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def sparse(name: str) -> Change:
    return lambda folder: os.truncate(folder / name, 1 << 40)


BROKEN: dict[str, tuple[Change, str]] = {
    "cut": (weights(lambda data: data[:-100]), f"{WEIGHTS} .*cut short or damaged"),
    "cut in the header": (weights(lambda data: data[:100]), f"{WEIGHTS} .*cut short or damaged"),
    "empty": (weights(lambda _: b""), f"{WEIGHTS} .0 bytes. is cut short or damaged"),
    "garbled": (weights(lambda data: bytes(255 - b for b in data)), f"{WEIGHTS} .*damaged"),
    "a garbled header": (weights(lambda d: d[:8] + b"{" + d[9:50] + b"\xff" + d[51:]), "damaged"),
    "no heads": (config(num_attention_heads=0), "num_attention_heads is 0"),
    "no key heads": (config(num_key_value_heads=0), "num_key_value_heads is 0"),
    "heads that do not divide": (config(num_attention_heads=3), "cannot load"),
    "key heads that do not divide": (config(num_key_value_heads=3), "cannot load"),
    "a text as size": (config(hidden_size="32"), "hidden_size is '32'; allowed: a number"),
    "a list as size": (config(hidden_size=[32]), "cannot load"),
    "null as size": (config(hidden_size=None), "cannot load"),
    "many layers": (config(num_hidden_layers=100_000), "num_hidden_layers is 100000, but"),
    "more layers than it has": (config(num_hidden_layers=3), "tensors .* are not in its files"),
    "negative layers": (config(num_hidden_layers=-1), "num_hidden_layers is -1"),
    "a width of a million": (config(hidden_size=10**6, head_dim=8), "hidden_size is 1000000, but"),
    "a vocabulary of a billion": (config(vocab_size=10**9), "vocab_size is 1000000000, but"),
    "positions without end": (config(max_position_embeddings=10**15), "max_position_embeddings"),
    "an unknown kind": (config(model_type="nope"), "cannot load"),
    "a kind that is a list": (config(model_type=["llama"]), "cannot load"),
    "code of its own": (config(auto_map={"AutoConfig": "evil.Config"}, model_type="e"), "cannot"),
    "a config that is a list": (write(CONFIG, "[]"), f"{CONFIG} holds a list"),
    "a config that nests": (write(CONFIG, "[" * 100_000), f"{CONFIG} is no JSON"),
    "sizes that nest": (config(a=json.loads('{"a":' * 50 + "1" + "}" * 50)), "nests deeper than"),
    "a number of 5000 digits": (write(CONFIG, '{"a": ' + "9" * 5000 + "}"), f"{CONFIG} is no JSON"),
    "a config in another encoding": (
        lambda folder: (folder / CONFIG).write_bytes('{"a": 1}'.encode("utf-16")), CONFIG,
    ),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "cannot load"),
    "an empty tokenizer": (write("tokenizer.json", "{}"), "cannot load"),
    "a cut tokenizer": (write("tokenizer.json", '{"version": "1.0", "trunc'), "cannot load"),
    "a list as tokenizer": (write("tokenizer_config.json", "[]"), "cannot load"),
    "an index of a pickle": (index_of("pytorch_model.bin"), f"{INDEX} names .*pytorch_model.bin"),
    "an index of a file elsewhere": (
        index_of("../secret.safetensors", secret="secret.safetensors"), "names the weights '../sec",
    ),
    "an index of an absolute path": (index_of("/etc/x.safetensors"), "names the weights '/etc/"),
    "an index of nothing": (index_of("none.safetensors"), "names none.safetensors, which is miss"),
    "an index without a map": (write(INDEX, "{}"), f"{INDEX} has no weight_map"),
    "weights by another name": (
        config(transformers_weights="adapter_model.bin"), "transformers_weights is 'adapter_model",
    ),
    "an adapter of a model elsewhere": (
        write("adapter_config.json", '{"base_model_name_or_path": "/etc"}'), "an adapter, which",
    ),
    "a pipe as config": (pipe(CONFIG), f"{CONFIG} is not a regular file"),
    "a pipe as tokenizer": (pipe("tokenizer.json"), "tokenizer.json is not a regular file"),
    "a link to nothing": (
        lambda folder: (folder / "more.json").symlink_to("nowhere"), "more.json cannot be opened",
    ),
    "a huge config": (sparse(CONFIG), f"{CONFIG} is not whole: of its 1099511627776 bytes"),
    "weights of holes": (sparse(WEIGHTS), f"{WEIGHTS} is not whole"),
}  # fmt: skip


def copied(source: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(source, tmp_path / "model"))


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_one_error_that_names_it(
    case: str, llama_folder: Path, tmp_path: Path, model_cache: Path
) -> None:
    change, words = BROKEN[case]
    folder = copied(llama_folder, tmp_path)
    change(folder)
    card = Card(name="mine", role="llm", backend="transformers", target=str(folder))
    with pytest.raises(ModelError, match=words) as caught:
        LocalLanguageModel.load(card, LoadSettings(attention="sdpa"))
    assert str(folder) in str(caught.value)
    assert "copy or download " in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_whole_folder_and_a_whole_file_pass(llama_folder: Path, clip_folder: Path) -> None:
    for place in (llama_folder, clip_folder, llama_folder / WEIGHTS):
        check_place(place, advice="")


def test_shards_beside_their_index_pass(llama_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = copied(llama_folder, tmp_path)
    state = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = sorted(state)
    shards = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for shard, inside in shards.items():
        save_file({n: state[n] for n in inside}, folder / shard, metadata={"format": "pt"})
    weight_map = {name: shard for shard, inside in shards.items() for name in inside}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    card = Card(name="mine", role="llm", backend="transformers", target=str(folder))
    model = LocalLanguageModel.load(card, LoadSettings(attention="sdpa"))
    assert model.write("a", "car", max_tokens=2).num_tokens > 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([{"type": "evil.Module", "path": ""}], "module 'evil.Module' would run code of its own"),
        ([{"type": "os.system", "path": ""}], "would run code of its own"),
        ([{"type": "sentence_transformers.util.Transformer2", "path": ""}], "would run code"),
        ([{"type": "sentence_transformers.models.Pooling", "path": "../x"}], "which is elsewhere"),
        ([{"type": "sentence_transformers.models.Dense", "path": "1"}], "pickles are not loaded"),
        ({"type": "a"}, "no list of modules"),
        ([1], "no list of modules"),
    ],
)
def test_modules_of_sentence_transformers_run_no_code_and_stay_inside(
    changes: Any, words: str, sentence_folder: Path, tmp_path: Path
) -> None:
    folder = copied(sentence_folder, tmp_path)
    check_place(folder, advice="fetch")
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Module: pass\n")
    (folder / "modules.json").write_text(json.dumps(changes))
    with pytest.raises(ModelError, match=words):
        check_place(folder, advice="fetch")
    assert not (tmp_path / "ran").exists()


def test_a_layers_activation_is_one_of_torch(sentence_folder: Path, tmp_path: Path) -> None:
    folder = copied(sentence_folder, tmp_path)
    (folder / "2_Dense").mkdir()
    values = {"in_features": 16, "activation_function": "torch.nn.modules.activation.Tanh"}
    (folder / "2_Dense" / CONFIG).write_text(json.dumps(values))
    check_place(folder, advice="")
    values["activation_function"] = "torch.hub.load_state_dict_from_url"
    (folder / "2_Dense" / CONFIG).write_text(json.dumps(values))
    with pytest.raises(ModelError, match=r"activation_function is .* allowed: those of torch\.nn"):
        check_place(folder, advice="")


def test_names_of_classes_are_no_sizes(llama_folder: Path, tmp_path: Path) -> None:
    folder = copied(llama_folder, tmp_path)
    config(label2id={"width": 10**6, "depth": 0})(folder)
    check_place(folder, advice="")


def test_a_file_of_holes_is_not_hashed_for_an_identity(llama_folder: Path, tmp_path: Path) -> None:
    folder = copied(llama_folder, tmp_path)
    (folder / "notes.bin").touch()
    sparse("notes.bin")(folder)
    card = Card(name="mine", role="llm", backend="transformers", target=str(folder))
    with pytest.raises(ModelError, match=r"notes\.bin is not whole"):
        identity_of(card)


def test_a_large_gguf_file_of_holes_is_refused_at_once(tmp_path: Path, model_cache: Path) -> None:
    (tmp_path / "x.gguf").touch()
    sparse("x.gguf")(tmp_path)
    with pytest.raises(ModelError, match=r"x\.gguf cannot be read"):
        as_folder(tmp_path / "x.gguf")

"""Readings on disk: the same answers, a bounded folder, and nothing that damage can break."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch

from fdvs.errors import InvalidValue, ModelError
from fdvs.fingerprint import file_sha256
from fdvs.kernels.dga import DGAConfig
from fdvs.models.cards import Card, LoadSettings
from fdvs.models.llm import reading_cache, reading_files
from fdvs.models.llm.attention import enable
from fdvs.models.llm.local import LocalLanguageModel
from fdvs.models.llm.reading_cache import ReadingCache
from fdvs.models.llm.reading_files import load
from fdvs.models.scripted import ScriptedLanguageModel
from fdvs.protocols import PrefillLanguageModel

SMALL = DGAConfig(
    importance_rate=0.25, group_size=4, chunk=16, window=8, sinks=2, score_queries=4
)  # fmt: skip
TEXT = "the red car moves and a rabbit seen in the picture moves " * 6
REST, OPTIONS = "what moves", ["the car", "a red rabbit", "notes"]
GIB = 2**30


@pytest.fixture(scope="session")
def sharp_folder(save_llama: Callable[..., Path]) -> Path:
    """A random Llama with 256 positions whose attention is not flat."""
    return save_llama(seed=4, max_position_embeddings=256, initializer_range=0.3)


def writer_of(
    folder: Path, attention: str, config: DGAConfig | None = None, *, reread: bool = True
) -> LocalLanguageModel:
    card = Card(name="w", role="llm", backend="transformers", target=str(folder))
    settings = LoadSettings(device="cpu", attention=attention, reread=reread)
    writer = LocalLanguageModel.load(card, settings)
    if attention == "dga":
        enable(writer.model, config or SMALL)
    return writer


@pytest.fixture(params=["sdpa", "dga"])
def writer(
    request: pytest.FixtureRequest, sharp_folder: Path, model_cache: Path
) -> LocalLanguageModel:
    return writer_of(sharp_folder, request.param)


@pytest.fixture
def cache(tmp_path: Path) -> ReadingCache:
    return ReadingCache(tmp_path / "readings", max_bytes=GIB)


def fresh(cache: ReadingCache) -> ReadingCache:
    """Return the cache as another process sees it: only what is on disk."""
    return ReadingCache(cache.folder, max_bytes=cache.max_bytes)


def only_reading(cache: ReadingCache) -> Path:
    [place] = cache.folder.iterdir()
    return place


def test_answers_are_the_same_with_and_without_the_cache(
    writer: LocalLanguageModel, cache: ReadingCache
) -> None:
    plain = writer.read("a", TEXT)
    want = plain.score(REST, OPTIONS), plain.write(REST, max_tokens=20)
    ran = writer.attention
    first = cache.read(writer, "a", TEXT)
    in_memory = cache.read(writer, "a", TEXT)
    from_disk = fresh(cache).read(writer, "a", TEXT)
    assert [r.reused for r in (first, in_memory, from_disk)] == [False, True, True]
    for reading in (first, in_memory, from_disk):
        assert (reading.score(REST, OPTIONS), reading.write(REST, max_tokens=20)) == want
        assert writer.attention == ran


def test_answers_are_the_same_where_heads_have_settings_of_their_own(
    sharp_folder: Path, model_cache: Path, cache: ReadingCache
) -> None:
    writer = writer_of(sharp_folder, "dga")
    enable(writer.model, SMALL, layer_configs={1: (replace(SMALL, window=14), SMALL)})
    first = cache.read(writer, "a", TEXT)
    from_disk = fresh(cache).read(writer, "a", TEXT)
    assert (first.reused, from_disk.reused) == (False, True)
    assert from_disk.score(REST, OPTIONS) == first.score(REST, OPTIONS)
    assert from_disk.write(REST, max_tokens=20) == first.write(REST, max_tokens=20)


def test_nothing_is_read_again(
    writer: LocalLanguageModel, cache: ReadingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.read(writer, "a", TEXT)
    later = fresh(cache)

    def refuse(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(writer, "read_opening", refuse)
    assert later.read(writer, "a", TEXT).num_tokens > 60
    with pytest.raises(AssertionError, match="read again"):
        later.read(writer, "a", TEXT + "picture")


def test_a_kept_reading_is_not_changed_by_questions(
    writer: LocalLanguageModel, cache: ReadingCache
) -> None:
    cache.read(writer, "a", TEXT)
    before = {p.name: p.read_bytes() for p in only_reading(cache).iterdir()}
    reading = fresh(cache).read(writer, "a", TEXT)
    reading.write(REST, max_tokens=30)
    again = fresh(cache).read(writer, "a", TEXT)
    assert again.score(REST, OPTIONS) == reading.score(REST, OPTIONS)
    assert {p.name: p.read_bytes() for p in only_reading(cache).iterdir()} == before


def test_every_file_that_computes_a_reading_is_where_the_key_looks_for_it() -> None:
    for package, endings in reading_cache.CODE:
        names = [file.name for file in resources.files(package).iterdir()]
        assert [end for end in endings if not any(name.endswith(end) for name in names)] == []


def test_whatever_a_reading_depends_on_is_in_its_key(
    sharp_folder: Path,
    tmp_path: Path,
    model_cache: Path,
) -> None:
    from transformers import AutoModelForCausalLM

    other = tmp_path / "other"
    shutil.copytree(sharp_folder, other)
    model = AutoModelForCausalLM.from_pretrained(other, dtype=torch.float32)
    with torch.no_grad():
        model.model.norm.weight[0] += 1e-3
    model.save_pretrained(other)
    writer = writer_of(sharp_folder, "dga")
    opening = writer.chat.opening("a", TEXT)

    def key(other_writer: LocalLanguageModel = writer, system: str = "a", text: str = TEXT) -> str:
        return reading_cache.reading_key(other_writer, other_writer.chat.opening(system, text))

    keys = [
        key(),
        key(text=TEXT + "car"),
        key(system="the"),
        key(writer_of(other, "dga")),
        key(writer_of(sharp_folder, "sdpa")),
        key(writer_of(sharp_folder, "dga", replace(SMALL, window=12))),
        key(writer_of(sharp_folder, "dga", reread=False)),
    ]
    layers = writer_of(sharp_folder, "dga")
    enable(layers.model, SMALL, layer_configs={1: replace(SMALL, importance_rate=0.5)})
    half = writer_of(sharp_folder, "dga")
    half.model.to(torch.bfloat16)
    keys += [key(layers), key(half)]
    keys.append(reading_cache.reading_key(writer, opening, code="changed"))
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]
    assert key(writer_of(sharp_folder, "dga")) == keys[0]


def test_a_model_without_a_hash_is_read_but_not_kept(
    writer: LocalLanguageModel, cache: ReadingCache
) -> None:
    writer.identity = replace(writer.identity, weights_sha256="")
    assert not cache.read(writer, "a", TEXT).reused
    assert not cache.folder.exists()


def bytes_on_disk(cache: ReadingCache) -> int:
    return sum(path.stat().st_size for path in cache.folder.rglob("*") if path.is_file())


def test_a_reading_on_disk_is_little_more_than_its_tensors(
    writer: LocalLanguageModel, cache: ReadingCache
) -> None:
    reading = cache.read(writer, "a", TEXT)
    config = writer.model.config
    kept = 2 * 2 * 8 * 4 * config.num_hidden_layers  # keys and values, heads, dim, float32
    if hasattr(reading.cache, "store"):
        parts = reading.cache.num_bytes()
        chunks = SMALL.chunks_built(reading.num_tokens)
        bias = 2 * 4 * config.num_hidden_layers
        assert parts["units"] == chunks * SMALL.units_per_chunk * (kept + bias)
        tensors = parts["units"] + parts["raw"] + parts["queries"]
    else:
        tensors = reading.num_tokens * kept
    assert tensors <= bytes_on_disk(cache) < tensors + 8192


# bounds


def test_what_was_used_longest_ago_goes_first(writer: LocalLanguageModel, tmp_path: Path) -> None:
    texts = [f"the {word} moves " * 12 for word in ("car", "rabbit", "picture", "notes")]
    probe = ReadingCache(tmp_path / "probe", max_bytes=GIB)
    probe.read(writer, "a", texts[0])
    each = bytes_on_disk(probe)
    cache = ReadingCache(tmp_path / "small", max_bytes=3 * each + each // 2)
    for at, text in enumerate(texts[:3]):
        cache.read(writer, "a", text)
        newest = max(cache.folder.iterdir(), key=lambda p: p.stat().st_mtime)
        os.utime(newest, (1000 + at, 1000 + at))
    assert fresh(cache).read(writer, "a", texts[0]).reused
    cache.read(writer, "a", texts[3])
    assert len(list(cache.folder.iterdir())) == 3
    assert bytes_on_disk(cache) <= cache.max_bytes
    reused = {text: fresh(cache).read(writer, "a", text).reused for text in texts[2:] + texts[:1]}
    assert all(reused.values())
    assert not fresh(cache).read(writer, "a", texts[1]).reused


def test_a_reading_larger_than_the_bound_is_not_kept(
    writer: LocalLanguageModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = ReadingCache(tmp_path / "tiny", max_bytes=5000)
    assert cache.read(writer, "a", TEXT).num_tokens
    assert list(cache.folder.iterdir()) == []
    assert "exceed the 5000 allowed" in caplog.text
    with pytest.raises(InvalidValue, match="at least 1"):
        ReadingCache(tmp_path, max_bytes=0)


def test_a_reading_that_grew_beyond_the_bound_is_not_loaded(
    writer: LocalLanguageModel, cache: ReadingCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.read(writer, "a", TEXT)
    small = ReadingCache(cache.folder, max_bytes=bytes_on_disk(cache) - 1)
    assert not small.read(writer, "a", TEXT).reused
    assert "are allowed in all" in caplog.text


def test_what_a_crash_left_over_is_cleared_away(
    writer: LocalLanguageModel, cache: ReadingCache
) -> None:
    cache.folder.mkdir()
    old, new, foreign = (
        cache.folder / name for name in (f".{'0' * 32}.{'1' * 16}", f".{'0' * 32}.{'2' * 16}", "my")
    )
    for place in (old, new, foreign):
        place.mkdir()
        (place / "tensors.safetensors").write_bytes(b"half")
        os.utime(place, (1000, 1000) if place != new else None)
    cache.read(writer, "a", TEXT)
    assert not old.exists()
    assert new.exists()
    assert foreign.exists()


# damage


def damage_manifest(**change: Any) -> Callable[[Path], None]:
    def damage(place: Path) -> None:
        path = place / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | change))

    return damage


def without(name: str) -> Callable[[Path], None]:
    return lambda place: (place / name).unlink()


def cut(name: str) -> Callable[[Path], None]:
    return lambda place: os.truncate(place / name, (place / name).stat().st_size // 2)


def shorter_tensors(place: Path) -> None:
    """Take a token away, and let the hash fit."""
    from safetensors.torch import load_file, save_file

    path = place / "tensors.safetensors"
    save_file({k: x[:, :, 1:].contiguous() for k, x in load_file(path).items()}, path)
    damage_manifest(tensors_sha256=file_sha256(path))(place)


def other_tensors(place: Path) -> None:
    from safetensors.torch import save_file

    path = place / "tensors.safetensors"
    save_file({"x": torch.zeros(2)}, path)
    damage_manifest(tensors_sha256=file_sha256(path))(place)


DAMAGES = {
    "no manifest": without("manifest.json"),
    "no tensors": without("tensors.safetensors"),
    "half a manifest": cut("manifest.json"),
    "half of the tensors": cut("tensors.safetensors"),
    "no hash": damage_manifest(tensors_sha256=None),
    "another version": damage_manifest(version=99),
    "another format": damage_manifest(format="pickle"),
    "no extra": damage_manifest(extra=7),
    "of another text": damage_manifest(extra={"slots": [1], "extra": {}}),
    "a list": lambda place: (place / "manifest.json").write_text("[]"),
    "nested": lambda place: (place / "manifest.json").write_text("[" * 100_000),
    "not text": lambda place: (place / "manifest.json").write_bytes(b"\xff\xfe"),
    "huge": lambda place: os.truncate(place / "manifest.json", 2**24 + 1),
    "shorter tensors": shorter_tensors,
    "other tensors": other_tensors,
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_reading_is_a_miss_with_its_reason_and_is_replaced(
    kind: str, writer: LocalLanguageModel, cache: ReadingCache, caplog: pytest.LogCaptureFixture
) -> None:
    want = cache.read(writer, "a", TEXT).score(REST, OPTIONS)
    DAMAGES[kind](only_reading(cache))
    reading = fresh(cache).read(writer, "a", TEXT)
    assert not reading.reused
    assert reading.score(REST, OPTIONS) == want
    assert "cannot be used, the prompt is read again: " in caplog.text
    assert fresh(cache).read(writer, "a", TEXT).reused


def test_a_reading_of_another_key_in_its_place_is_a_miss(
    writer: LocalLanguageModel, cache: ReadingCache, caplog: pytest.LogCaptureFixture
) -> None:
    cache.read(writer, "a", TEXT)
    place = only_reading(cache)
    other = TEXT.replace("car", "rabbit")
    wanted = cache.folder / reading_cache.reading_key(writer, writer.chat.opening("a", other))
    shutil.copytree(place, wanted)
    assert not fresh(cache).read(writer, "a", other).reused
    assert "written for another text" in caplog.text


@pytest.mark.parametrize(
    ("name", "value"), [("num_hidden_layers", 1), ("num_key_value_heads", 4), ("head_dim", 4)]
)
def test_a_reading_of_a_model_of_another_shape_does_not_fit(
    name: str,
    value: int,
    writer: LocalLanguageModel,
    cache: ReadingCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    num_tokens = cache.read(writer, "a", TEXT).num_tokens
    place = only_reading(cache)
    assert load(writer.model, place, num_tokens=num_tokens)
    with pytest.raises(ValueError, match=f"not {num_tokens + 1} tokens"):
        load(writer.model, place, num_tokens=num_tokens + 1)
    monkeypatch.setattr(writer.model.config, name, value)
    with pytest.raises(ValueError, match=r"layers|heads"):
        load(writer.model, place, num_tokens=num_tokens)


def test_a_grouped_reading_of_other_settings_does_not_fit(
    sharp_folder: Path, model_cache: Path, cache: ReadingCache
) -> None:
    writer = writer_of(sharp_folder, "dga")
    num_tokens = cache.read(writer, "a", TEXT).num_tokens
    other = replace(SMALL, window=12)
    enable(writer.model, SMALL, layer_configs={1: other})
    with pytest.raises(ValueError, match="other settings of single layers"):
        load(writer.model, only_reading(cache), num_tokens=num_tokens)
    enable(writer.model, other)
    with pytest.raises(ValueError, match="other settings of the attention"):
        load(writer.model, only_reading(cache), num_tokens=num_tokens)


def test_a_folder_that_cannot_be_written_does_not_stop_the_reading(
    writer: LocalLanguageModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    cache = ReadingCache(tmp_path / "file", max_bytes=GIB)
    assert cache.read(writer, "a", TEXT).score(REST, OPTIONS)
    assert "is not kept: " in caplog.text
    assert (tmp_path / "file").read_text() == ""


def test_a_cache_that_a_mask_cannot_tell_is_not_kept(
    sharp_folder: Path, model_cache: Path, cache: ReadingCache, caplog: pytest.LogCaptureFixture
) -> None:
    """Layers with a window of their own hold less than all tokens."""
    from transformers import MistralConfig, MistralForCausalLM

    caplog.set_level(logging.INFO)
    writer = writer_of(sharp_folder, "sdpa")
    plain = writer.model.config
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=plain.vocab_size, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, sliding_window=9, eos_token_id=1,
    )  # fmt: skip
    writer.model = MistralForCausalLM(config).eval()
    reading = cache.read(writer, "a", TEXT)
    assert reading.score(REST, OPTIONS)
    assert "is not kept: layer 0 holds no plain keys and values" in caplog.text


def test_two_writers_of_the_same_reading_leave_one(
    writer: LocalLanguageModel, cache: ReadingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process finishes the same reading while this one still writes."""
    real = reading_files.save
    other = fresh(cache)

    def save(*args: Any, **options: Any) -> None:
        monkeypatch.setattr(reading_files, "save", real)
        other.read(writer, "a", TEXT)
        real(*args, **options)

    monkeypatch.setattr(reading_files, "save", save)
    cache.read(writer, "a", TEXT)
    assert only_reading(cache).is_dir()
    assert fresh(cache).read(writer, "a", TEXT).reused


def test_a_reading_that_vanishes_while_it_is_read_is_a_miss(
    writer: LocalLanguageModel, cache: ReadingCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.read(writer, "a", TEXT)

    def vanish(*args: Any, **options: Any) -> Any:
        shutil.rmtree(only_reading(cache))
        return load(*args, **options)

    monkeypatch.setattr(reading_files, "load", vanish)
    assert not fresh(cache).read(writer, "a", TEXT).reused


# the wrapped writer


def test_a_wrapped_writer_is_a_reader_that_keeps_what_it_reads(
    writer: LocalLanguageModel, cache: ReadingCache
) -> None:
    wrapped = cache.wrap(writer)
    assert isinstance(wrapped, PrefillLanguageModel)
    assert wrapped is not writer
    assert not wrapped.read("a", TEXT).reused
    assert only_reading(cache)
    assert fresh(cache).wrap(writer).read("a", TEXT).reused  # type: ignore[attr-defined]
    assert wrapped.write("a", "car", max_tokens=3) == writer.write("a", "car", max_tokens=3)
    assert wrapped.attention == writer.attention
    assert wrapped.count_tokens("a car") == 2
    assert (wrapped.identity, wrapped.context_tokens) == (writer.identity, writer.context_tokens)


def test_other_writers_come_back_as_they_are(cache: ReadingCache) -> None:
    other = ScriptedLanguageModel(["yes"])
    assert cache.wrap(other) is other


def test_a_text_that_does_not_fit_is_an_error_also_when_it_is_kept(
    writer: LocalLanguageModel, cache: ReadingCache
) -> None:
    cache.read(writer, "a", TEXT)
    writer.context_tokens = 30
    with pytest.raises(ModelError, match="exceed its context"):
        cache.read(writer, "a", TEXT)

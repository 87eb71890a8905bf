"""The fine-tuning script on a tiny random Llama: it learns, resumes exactly, and measures gaps."""

from __future__ import annotations

import json
import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

WORDS = ["red", "blue", "green", "a", "door", "opens", "the", "lamp", "is", "on", "off", "."]


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("scripts/finetune_dga.py")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama with a tokenizer of words, in a folder."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    place = tmp_path_factory.mktemp("model")
    vocabulary = {word: at for at, word in enumerate(["<end>", "<unk>", *WORDS])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<end>", unk_token="<unk>"
    ).save_pretrained(place)
    config = LlamaConfig(
        vocab_size=16, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=256,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(place)
    return place


def sentence(seed: int, words: int) -> str:
    draw = random.Random(seed)
    half = [draw.choice(WORDS) for _ in range(words // 2)]
    return " ".join(half + half)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for kind, count in (("train", 6), ("held", 3)):
        for at in range(count):
            path = tmp_path / "texts" / kind / f"{kind}{at}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(sentence(at + 100 * len(kind), 140))
    return tmp_path / "texts"


def arguments(model: Path, texts: Path, run: Path, steps: int, *more: str) -> list[str]:
    return [
        str(texts / "train"), "--held-out", str(texts / "held"), "--run", str(run),
        "--model", str(model), "--tokens", "64", "--steps", str(steps), "--chunk", "16",
        "--window", "15", "--group-size", "8", "--measure-every", "3", "--save-every", "3",
        "--learning-rate", "0.01", "--csv", str(run.with_suffix(".csv")), *more,
    ]  # fmt: skip


def losses(script: ModuleType, path: Path) -> dict[tuple[str, int, str], float]:
    rows = script.Rows(path).rows
    return {(r["arm"], int(r["step"]), r["document"]): float(r["nll"]) for r in rows}


@pytest.mark.slow  # trains every arm
def test_every_arm_learns_and_the_gap_is_measured_against_full_attention(
    script: ModuleType, model: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "curve.svg"
    script.main(arguments(model, texts, tmp_path / "run", 12, "--plot", str(plot)))
    got = losses(script, tmp_path / "run.csv")
    documents = {document for _, _, document in got}
    assert len(documents) == 3
    assert all("held" in document for document in documents)
    for arm in ("full", "single", "pooled"):
        first, last = (sum(got[arm, step, d] for d in documents) / 3 for step in (0, 12))
        assert last < first - 0.05
    gaps = script.gaps(script.Rows(tmp_path / "run.csv").rows)
    assert list(gaps) == ["pooled", "single"]
    assert list(gaps["pooled"]) == [0, 3, 6, 9, 12]
    one = sorted(documents)[0]
    want = math.exp(got["pooled", 12, one] - got["full", 12, one])
    assert want in [pytest.approx(x) for x in gaps["pooled"][12]]
    said = capsys.readouterr().out
    assert "| pooled | 12 | 3 |" in said
    assert plot.read_text().startswith("<?xml")
    assert sentence(500, 140)[:30] not in (tmp_path / "run.csv").read_text()


@pytest.mark.slow  # trains twice
@pytest.mark.parametrize("rank", ["4", "0"])
def test_a_run_that_was_killed_ends_as_if_it_had_not_been(
    script: ModuleType, model: Path, texts: Path, tmp_path: Path, rank: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    more = ("--arms", "full", "pooled", "--rank", rank, "--checkpointing")
    script.main(arguments(model, texts, tmp_path / "whole", 7, *more))

    step_of = script.Arm.train_step

    def dies(arm: Any, sequences: Any) -> float:
        if arm.name == "pooled" and arm.step == 5:
            raise KeyboardInterrupt
        return float(step_of(arm, sequences))

    monkeypatch.setattr(script.Arm, "train_step", dies)
    with pytest.raises(KeyboardInterrupt):
        script.main(arguments(model, texts, tmp_path / "cut", 7, *more))
    # a state that was being written when the process died
    torn = tmp_path / "cut" / "pooled" / "part-6"
    torn.mkdir()
    (torn / "weights.safetensors").write_bytes(b"half")
    monkeypatch.undo()
    script.main(arguments(model, texts, tmp_path / "cut", 7, *more))
    whole, cut = (losses(script, tmp_path / f"{name}.csv") for name in ("whole", "cut"))
    assert whole.keys() == cut.keys()
    assert all(cut[key] == pytest.approx(nll, abs=1e-5) for key, nll in whole.items())
    assert (
        whole["pooled", 6, min(d for *_, d in whole)]
        != whole["pooled", 7, min(d for *_, d in whole)]
    )


def test_states_hold_no_pickle_and_only_the_newest_stays(
    script: ModuleType, model: Path, texts: Path, tmp_path: Path
) -> None:
    script.main(arguments(model, texts, tmp_path / "run", 6, "--arms", "full"))
    files = sorted(p.relative_to(tmp_path / "run") for p in (tmp_path / "run").rglob("*.*"))
    names = ["optimizer.safetensors", "state.json", "weights.safetensors"]
    assert [str(f) for f in files] == [f"full/step-6/{name}" for name in names]
    told = json.loads((tmp_path / "run" / "full" / "step-6" / "state.json").read_text())
    assert told["step"] == 6


def test_a_run_goes_on_to_more_steps_but_not_with_other_settings(
    script: ModuleType, model: Path, texts: Path, tmp_path: Path
) -> None:
    script.main(arguments(model, texts, tmp_path / "run", 3, "--arms", "full"))
    script.main(arguments(model, texts, tmp_path / "run", 4, "--arms", "full"))
    steps = {step for _, step, _ in losses(script, tmp_path / "run.csv")}
    assert steps == {0, 3, 4}
    with pytest.raises(ValueError, match="trained with other settings or texts"):
        script.main(arguments(model, texts, tmp_path / "run", 5, "--arms", "full", "--seed", "1"))


def test_batches_follow_from_the_step_and_read_every_text_once_a_pass(script: ModuleType) -> None:
    import torch

    blocks = torch.arange(5)[:, None].expand(-1, 3)
    plan = script.Plan(model="m", batch=2)
    read = [int(row[0]) for step in range(5) for row in script.batch_of(blocks, step, plan)]
    assert sorted(read[:5]) == sorted(read[5:]) == list(range(5))
    assert read[:5] != read[5:]
    assert torch.equal(script.batch_of(blocks, 3, plan), script.batch_of(blocks, 3, plan))


def test_the_rate_warms_up_and_grouped_arms_leave_equal_units(script: ModuleType) -> None:
    plan = script.Plan(model="m", learning_rate=1.0, warm_up=4)
    assert [plan.rate(step) for step in (0, 1, 3, 100)] == [0.25, 0.5, 1.0, 1.0]
    arms = script.arm_configs(64, 64, 0.1, 16)
    assert arms["single"].units_per_chunk == arms["pooled"].units_per_chunk < 64
    assert arms["full"].is_dense
    assert arms["pooled"].pool
    assert not arms["single"].pool


def test_gradients_of_a_loss_in_pieces_are_those_of_the_whole(
    script: ModuleType, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    llama, _ = script.load(str(model), "cpu")
    ids = torch.randint(16, (50,), generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(script, "LOGIT_ROWS", 7)
    loss = script.mean_loss(llama, ids, 1)
    loss.backward()
    got = llama.model.layers[0].self_attn.q_proj.weight.grad.clone()
    llama.zero_grad()
    want = llama(ids[None], labels=ids[None]).loss
    want.backward()
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(got, llama.model.layers[0].self_attn.q_proj.weight.grad)


def test_parquet_needs_pyarrow_and_a_text_column(script: ModuleType, tmp_path: Path) -> None:
    texts = sys.modules["finetune_texts"]
    path = tmp_path / "x.parquet"
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        path.write_bytes(b"PAR1")
        with pytest.raises(ValueError, match="needs pyarrow"):
            texts.read_documents(path)
        return
    parquet.write_table(pyarrow.table({"text": ["one", "", "two"]}), path)
    assert [(d.name, d.text) for d in texts.read_documents(path)] == [
        ("x-0", "one"),
        ("x-2", "two"),
    ]
    parquet.write_table(pyarrow.table({"words": ["one"]}), path)
    with pytest.raises(ValueError, match="one must be called 'text'"):
        texts.read_documents(path)


def test_parquet_rows_are_documents(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reading of rows, with a stand-in for pyarrow: it is optional."""
    from types import SimpleNamespace

    rows = ["one", None, "two"]
    column = SimpleNamespace(to_pylist=lambda: rows)
    file = SimpleNamespace(
        schema_arrow=SimpleNamespace(names=["text"]),
        iter_batches=lambda **_: [SimpleNamespace(column=lambda _at: column)],
    )
    parquet = SimpleNamespace(ParquetFile=lambda _path: file)
    monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace(parquet=parquet))
    (tmp_path / "x.parquet").write_bytes(b"")
    found = sys.modules["finetune_texts"].read_documents(tmp_path)
    assert [(d.name, d.text) for d in found] == [("x-0", "one"), ("x-2", "two")]


def test_texts_that_cannot_be_read_are_named(script: ModuleType, tmp_path: Path) -> None:
    texts = sys.modules["finetune_texts"]
    with pytest.raises(ValueError, match="holds no text"):
        texts.read_documents(tmp_path)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match="not UTF-8"):
        texts.read_documents(tmp_path)


def test_too_short_texts_and_unknown_names_are_named(
    script: ModuleType, model: Path, texts: Path, tmp_path: Path
) -> None:
    for option, message in (("--tokens", "are needed"), ("--held-out-tokens", "no text has")):
        with pytest.raises(ValueError, match=message):
            script.main([*arguments(model, texts, tmp_path / "run", 1), option, "9999"])
    with pytest.raises(SystemExit, match="choose of"):
        script.main(arguments(model, texts, tmp_path / "run", 1, "--arms", "half"))
    linear = __import__("torch").nn.Linear(2, 2)
    with pytest.raises(RuntimeError, match="no modules"):
        script._add_lora(linear, 2)


def test_weights_of_another_model_are_refused(
    script: ModuleType, model: Path, texts: Path, tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import save_file

    script.main(arguments(model, texts, tmp_path / "run", 3, "--arms", "full"))
    state = tmp_path / "run" / "full" / "step-3"
    save_file({"other": torch.zeros(1)}, state / "weights.safetensors")
    with pytest.raises(ValueError, match="other weights than the model"):
        script.main(arguments(model, texts, tmp_path / "run", 4, "--arms", "full"))

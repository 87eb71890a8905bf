"""The quality measurement: ids and ratios, intervals, needles, resuming; on a tiny random Llama."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def script(load_script: Callable[[str], ModuleType]) -> ModuleType:
    return load_script("research/eval_attention.py")


@pytest.fixture(scope="module")
def model() -> Any:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from fdvs.models.llm.attention import enable

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=1024,
    )  # fmt: skip
    made = LlamaForCausalLM(config).eval()
    enable(made)
    return made


class Letters:
    """A tokenizer with a token for every character code below 64."""

    eos_token_id = 0

    def __call__(self, text: str, **_: object) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) % 64 for c in text]}

    def encode(self, text: str, **_: object) -> list[int]:
        return self(text)["input_ids"]

    def decode(self, ids: Any, **_: object) -> str:
        return "".join(chr(48 + int(i) % 10) for i in ids)


def perplexity_row(document: str, settings: str, nll: float, **more: object) -> dict[str, Any]:
    return {
        "kind": "perplexity", "model": "m", "domain": "prose", "document": document,
        "tokens": 8, "settings": settings, "config": "c", "units_share": 0.2,
        "kept_share": 0.3, "nll": nll, **more,
    }  # fmt: skip


def test_the_controls_keep_as_many_units_as_what_they_control(script: ModuleType) -> None:
    table = script.settings()
    shares = {name: s.units_share(30) for name, s in table.items()}
    equal = ["pooled", "single", "layers", "random"]
    assert {round(shares[name], 9) for name in equal} == {0.15625}
    assert shares["full"] == 1.0
    assert shares["window_and_one"] < 0.01
    assert shares["layers_quarter"] <= 0.25
    assert [table[n].config.pool for n in ("pooled", "single")] == [True, False]


def test_what_is_kept_counts_units_and_the_raw_tail(script: ModuleType) -> None:
    table = script.settings()
    # 4096 tokens: 24 chunks of 160 are committed, 256 + 0 tokens are raw
    assert table["single"].kept_share(4096, 30) == pytest.approx((24 * 25 + 256) / 4096)
    assert table["layers"].kept_share(4096, 30) == pytest.approx((24 * 25 + 256) / 4096)
    assert table["full"].kept_share(4096, 30) == 1.0
    assert table["single"].kept_share(400, 30) == 1.0


def test_settings_of_one_name_and_another_content_are_told_apart(script: ModuleType) -> None:
    one = script.settings()["single"]
    other = replace(one, config=replace(one.config, window=300))
    layered = replace(one, layers={1: one.config})
    assert len({s.digest for s in (one, other, layered)}) == 3


def test_domains_are_folders_and_a_changed_text_is_another_document(
    script: ModuleType, tmp_path: Path
) -> None:
    for path, text in (("prose/b.txt", "b"), ("prose/a.txt", "a"), ("code/c.py", "c")):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    found = script.find_documents(tmp_path)
    assert [(d.domain, d.name) for d in found] == [("code", "c"), ("prose", "a"), ("prose", "b")]
    before = found[1].id
    (tmp_path / "prose/a.txt").write_text("another")
    assert script.find_documents(tmp_path / "prose/a.txt")[0].id != before
    turns = script.first_of_each(found, 1)
    assert [d.name for d in turns] == ["c", "a"]


def test_nothing_to_read_and_foreign_bytes_are_named(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no text files"):
        script.find_documents(tmp_path)
    (tmp_path / "x.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        script.find_documents(tmp_path)


def test_a_row_cut_off_is_measured_again_and_damage_is_named(
    script: ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    first, second = perplexity_row("a", "full", 1.0), perplexity_row("b", "full", 1.0)
    script.Rows(path).add(first)
    with path.open("a") as file:
        file.write(json.dumps(second)[:40])
    rows = script.Rows(path)
    assert first in rows
    assert second not in rows
    rows.add(second)
    assert second in script.Rows(path)
    assert perplexity_row("b", "full", 1.0, config="other") not in rows
    path.write_text("{}}\n")
    with pytest.raises(ValueError, match=r"rows\.jsonl:1 is not JSON"):
        script.Rows(path)


def test_the_ratio_is_that_of_perplexities_on_the_same_document(
    script: ModuleType, tmp_path: Path
) -> None:
    rows = [
        perplexity_row("a", "full", 1.0), perplexity_row("a", "x", 1.0 + math.log(1.1)),
        perplexity_row("b", "x", 2.0), perplexity_row("b", "full", 2.0),
        perplexity_row("c", "x", 9.0),
    ]  # fmt: skip
    (kept,) = [r for r in script.summary(rows) if r["settings"] == "x"]
    assert kept["documents"] == 2
    assert kept["ratio"] == pytest.approx(1.05)
    assert (kept["low"], kept["high"]) == (pytest.approx(1.0), pytest.approx(1.1))
    script.write_csv(rows, tmp_path / "out.csv", needle=False)
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[0] == "model,domain,document,tokens,settings,units_share,kept_share,nll,ratio"
    assert "m,prose,a,8,x,0.2,0.3,1.0953,1.1" in lines
    assert len(lines) == 5
    assert any("| x | 20.0% | 30.0% | 2 | 1.0500 |" in line for line in script.table(rows))


def test_the_interval_holds_the_mean_and_shrinks_with_more_documents(script: ModuleType) -> None:
    few, many = [1.0, 1.2] * 2, [1.0, 1.2] * 50
    mean, low, high = script.bootstrap(many)
    assert low < mean < high
    assert script.bootstrap(few)[2] - script.bootstrap(few)[1] > high - low
    # the mean of 100 values of spread 0.1 has a standard error of 0.01
    assert high - low == pytest.approx(2 * 1.96 * 0.01, rel=0.1)
    with pytest.raises(ValueError, match="no values"):
        script.bootstrap([])


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (" 12345.", True),
        ("is 12345 and 9", True),
        ("9 12345", False),
        ("123456", False),
        ("", False),
    ],
)
def test_a_needle_counts_if_the_first_number_is_the_one(
    script: ModuleType, answer: str, want: bool
) -> None:
    assert needles().found(answer, "12345") == want


def needles() -> ModuleType:
    return sys.modules["eval_needles"]


def test_needles_lie_at_their_depth_and_numbers_differ(script: ModuleType) -> None:
    assert needles().place_needle([1, 2, 3, 4], [9], 0.5) == [1, 2, 9, 3, 4]
    assert needles().place_needle([1, 2], [9], 0.0) == [9, 1, 2]
    assert needles().place_needle([1, 2], [9], 1.0) == [1, 2, 9]
    both = needles().place_needles([1, 2, 3, 4], [[8, 8], [9]], [0.5, 0.25])
    assert both == [1, 9, 2, 8, 8, 3, 4]
    numbers = {needles().secret("a", 100, depth / 10) for depth in range(10)}
    assert len(numbers) == 10
    assert all(len(number) == 5 for number in numbers)


def test_the_loss_is_that_of_the_second_half(
    script: ModuleType, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(script, "LOGIT_ROWS", 7)
    ids = torch.randint(0, 64, (50,), generator=torch.Generator().manual_seed(1))
    got = script.second_half_nll(model, None, ids, script.settings()["full"])
    with torch.no_grad():
        logp = model(ids[None]).logits[0].log_softmax(-1)
    want = -sum(logp[i - 1, ids[i]].item() for i in range(25, 50)) / 25
    assert got == pytest.approx(want, rel=1e-5)


def test_grouping_changes_the_loss_and_layers_can_be_left_dense(
    script: ModuleType, model: Any
) -> None:
    import torch

    ids = torch.randint(0, 64, (700,), generator=torch.Generator().manual_seed(1))
    table = script.settings()
    full = script.second_half_nll(model, None, ids, table["full"])
    pooled = table["pooled"]
    dense = replace(pooled, layers=dict.fromkeys(range(2), table["full"].config))
    assert script.second_half_nll(model, None, ids, pooled) != pytest.approx(full, abs=1e-7)
    assert script.second_half_nll(model, None, ids, dense) == pytest.approx(full, abs=1e-6)


def test_a_text_read_twice_loses_otherwise_than_one_read_once(
    script: ModuleType, model: Any
) -> None:
    import torch

    table = script.settings()
    once, twice = table["single"], table["single+reread"]
    assert (once.reread, twice.reread, twice.config) == (False, True, once.config)
    assert once.digest != twice.digest
    for length, same in ((300, True), (700, False)):
        ids = torch.randint(0, 64, (length,), generator=torch.Generator().manual_seed(1))
        losses = [script.second_half_nll(model, Letters(), ids, one) for one in (once, twice)]
        assert (losses[0] == pytest.approx(losses[1], abs=1e-7)) is same


def test_a_run_goes_on_where_it_stopped(script: ModuleType, model: Any, tmp_path: Path) -> None:
    rows = script.Rows(tmp_path / "rows.jsonl")
    document = script.Document(domain="prose", name="a", text="the rabbit runs " * 10)
    chosen = [script.settings()[name] for name in ("full", "pooled")]
    at = {"model": "m", "domain": "prose", "document": document.id, "tokens": 40}
    ids = script._ids(Letters(), document, 40)
    script.measure_perplexity(model, None, at, ids, chosen[:1], rows)
    before = rows.path.read_text()
    script.measure_perplexity(model, None, at, ids, chosen, rows)
    assert rows.path.read_text().startswith(before)
    assert [row["settings"] for row in rows.rows] == ["full", "pooled"]
    assert "rabbit" not in rows.path.read_text()
    # 40 tokens: nothing is grouped yet, so nothing may differ
    assert script.with_ratios(rows.rows)[1]["ratio"] == pytest.approx(1.0)
    with pytest.raises(ValueError, match="160 tokens, 999 are needed"):
        script._ids(Letters(), document, 999)


@pytest.mark.parametrize("together", [False, True])
def test_needles_are_asked_for_at_every_depth(
    script: ModuleType, model: Any, tmp_path: Path, together: bool
) -> None:
    rows = script.Rows(tmp_path / "rows.jsonl")
    ids = Letters()("the rabbit runs " * 40)["input_ids"]
    chosen = [script.settings()["full"]]
    at = {"model": "m", "domain": "prose", "document": "a", "tokens": 400}
    for _ in range(2):
        needles().measure_needles(
            model, Letters(), at, ids, chosen, [0.2, 0.8], rows, together=together
        )
    assert [row["depth"] for row in rows.rows] == [0.2, 0.8]
    assert not any(row["found"] for row in rows.rows)
    count = 2 if together else 1
    assert f"| m | 400 | {count} | full | 0 | 2 |" in list(script.needle_table(rows.rows))
    script.write_csv(rows.rows, tmp_path / "out.csv", needle=True)
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3


def test_a_question_is_answered_as_if_text_and_question_were_read_in_one_go(
    script: ModuleType, model: Any
) -> None:
    import torch

    from fdvs.models.llm.attention import generate

    ids = torch.randint(64, (600,), generator=torch.Generator().manual_seed(2)).tolist()
    setting = script.settings()["pooled"]
    questions = [[5, 6, 7], [9, 8]]
    got = needles().answers(model, Letters(), ids, questions, setting)
    for question, answer in zip(questions, got, strict=True):
        made = generate(
            model, torch.tensor([[*ids, *question]]), max_new_tokens=10,
            cache=sys.modules["eval_settings"].cache_for(model, setting), pad_token_id=0,
        )  # fmt: skip
        assert answer == Letters().decode(made.new_tokens[0])


def test_plots_are_drawn_and_the_same_numbers_give_the_same_file(
    script: ModuleType, tmp_path: Path
) -> None:
    rows = [
        perplexity_row(name, settings, nll, domain=domain)
        for domain in ("prose", "code")
        for name in "ab"
        for settings, nll in (
            ("full", 1.0),
            ("x", 1.1),
            ("ask", 1.1),
            ("units_8", 1.3),
            ("ask+reread", 1.05),
        )
    ]
    plots = sys.modules["eval_plots"]
    for name in ("one.svg", "two.svg"):
        plots.quality_plot(script.summary(rows), tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    names = ["ask", "units_8", "units_8+reread", "attention_heads_sixth+reread", "default"]
    assert [plots._curve(name) for name in names] == ["", "", "+reread", None, None]
    hits = [
        {"kind": "needle", "settings": "full", "tokens": tokens, "depth": 0.5, "found": True}
        for tokens in (100, 200)
    ]
    plots.needle_plot([*hits, {**hits[0], "settings": "x", "found": False}], tmp_path / "n.png")
    assert (tmp_path / "n.png").read_bytes().startswith(b"\x89PNG")
    assert plots._share(hits, "full", 100, 0.5) == 1.0
    assert math.isnan(plots._share(hits, "full", 300, 0.5))


def test_a_plan_is_a_setting_and_its_shares_count_every_head(
    script: ModuleType, tmp_path: Path
) -> None:
    from fdvs.kernels.dga import DGAConfig, full_config
    from fdvs.kernels.dga.plan import HeadPlan

    plan = HeadPlan(model="m", levels=(DGAConfig(), full_config()), heads=((0, 1), (0, 0)))
    plan.write(tmp_path / "mine.json")
    setting = script.settings([tmp_path / "mine.json"])["mine"]
    assert setting.units_share(2) == pytest.approx((3 * 25 / 160 + 1) / 4)
    assert setting.kept_share(4096, 2) == pytest.approx(plan.kept_share(4096))
    assert setting.digest != replace(setting, layers={}).digest


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    for domain in ("code", "prose"):
        (tmp_path / "texts" / domain).mkdir(parents=True)
        (tmp_path / "texts" / domain / "a.txt").write_text(f"the {domain} runs " * 30)
    return tmp_path / "texts"


def test_a_whole_run_prints_a_row_for_every_domain_and_setting(
    script: ModuleType, model: Any, texts: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(script, "load", lambda name: (model, Letters()))
    rows, table = texts.parent / "rows.jsonl", texts.parent / "out.csv"
    script.main(
        [str(texts), "--tokens", "60", "--rows", str(rows), "--csv", str(table), "--settings",
         "pooled", "--documents", "1"]
    )  # fmt: skip
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 4
    assert len(table.read_text().splitlines()) == 1 + 4
    script.main(
        [str(texts), "--tokens", "200", "--rows", str(rows), "--needle", "--depths", "0.5",
         "--settings", "pooled"]
    )  # fmt: skip
    assert "| smollm2-135m | 200 | 1 | pooled | 0 | 2 |" in capsys.readouterr().out


def test_a_folder_of_weights_is_loaded_with_grouped_attention(
    script: ModuleType, model: Any, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    model.save_pretrained(tmp_path)
    words = Tokenizer(models.WordLevel({"a": 0, "<unk>": 1}, unk_token="<unk>"))
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>").save_pretrained(tmp_path)
    loaded, tokenizer = script.load(str(tmp_path))
    assert loaded.config._attn_implementation == "dga"
    assert tokenizer("a")["input_ids"] == [0]

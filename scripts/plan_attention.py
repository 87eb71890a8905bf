"""Find out which heads of a model need far text, and write a plan of settings by key head.

    python scripts/plan_attention.py TEXTS --model smollm2-135m --rows heads.jsonl --plan plan.json

For every setting, layer and key head: what the model's predictions lose if that head alone
attends with that setting and all others in full. To second order that loss (KL divergence, nats a
token) is half the Fisher information of the predictions along the change of the head's output, so
one forward and a few backward passes give it for all heads and settings at once: labels are drawn
from the model's own predictions, and the square of <gradient, change of output> is summed over
blocks of queries. Only the second half of a text counts. Losses of single heads are then taken to
add up (`fdvs.kernels.dga.plan`); measure the plan as a whole with research/eval_attention.py, on
other texts. Rows hold ids and numbers, never text; what is there is not computed again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from finetune_dga import load
from finetune_texts import Document, read_documents

from fdvs.kernels.dga import DGAConfig, full_config
from fdvs.kernels.dga.plan import HeadPlan, allocate, kept_share, units_share, with_units
from fdvs.models.llm.gate import SUFFIX, Gate

NAME = "fdvs_head_losses"
#: Queries whose effects on the predictions are summed before they are squared.
BLOCK = 64
LOGIT_ROWS = 512


class Heads:
    """What every layer computed, and how the predictions depend on its output."""

    def __init__(self, first: int) -> None:
        """Keep what concerns the queries from `first` on."""
        self.first = first
        self.inputs: dict[int, tuple[Any, Any, Any, Any, float]] = {}
        self.gradients: dict[int, list[Any]] = {}

    def attend(
        self, module: Any, query: Any, key: Any, value: Any, attention_mask: Any,
        scaling: float | None = None, **_: Any,
    ) -> tuple[Any, None]:  # fmt: skip
        """Attend in full as transformers asks, and keep queries, keys, values and output."""
        from torch.nn.functional import scaled_dot_product_attention

        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        out = scaled_dot_product_attention(
            query, key, value, is_causal=True, scale=scale, enable_gqa=True
        )
        layer = module.layer_idx
        kept = tuple(x.detach() for x in (query, key, value, out))
        self.inputs[layer] = (*kept, scale)  # type: ignore[assignment]
        if out.requires_grad:
            out.register_hook(lambda grad: self._keep(layer, grad))
        return out.transpose(1, 2).contiguous(), None

    def _keep(self, layer: int, grad_BHLD: Any) -> None:
        self.gradients.setdefault(layer, []).append(grad_BHLD[0, :, self.first :].clone())

    def losses(self, config: DGAConfig) -> list[list[float]]:
        """Return the loss of every layer and key head under a setting, nats a token."""
        import torch

        from fdvs.kernels.dga import dga_attention

        out = []
        for layer in sorted(self.inputs):
            query, key, value, full, scale = self.inputs[layer]
            with torch.inference_mode():
                made = dga_attention(query, key, value, config=config, scale=scale)
                change_HQD = (made - full)[0, :, self.first :]
                out.append(self._of_layer(layer, change_HQD, key.shape[1]))
        return out

    def _of_layer(self, layer: int, change_HQD: Any, key_heads: int) -> list[float]:
        num_queries, total = change_HQD.shape[1], 0.0
        for grad_HQD in self.gradients[layer]:
            effect_HQ = (grad_HQD * change_HQD).sum(-1)
            effect_KQ = effect_HQ.unflatten(0, (key_heads, -1)).sum(1)
            blocks = [x.sum(1) for x in effect_KQ.split(BLOCK, 1)]
            total = total + sum(block_K.square() for block_K in blocks)
        shares = total / (2 * num_queries * len(self.gradients[layer]))
        return [float(x) for x in shares]


def head_losses(
    model: Any, ids_L: Any, levels: Sequence[DGAConfig], *, draws: int, seed: int = 0
) -> list[list[list[float]]]:
    """Return losses by level, layer and key head."""
    import torch
    from transformers import AttentionInterface, AttentionMaskInterface

    heads = Heads(len(ids_L) // 2)
    AttentionInterface.register(NAME, heads.attend)
    AttentionMaskInterface.register(NAME, lambda **_: None)
    before = model.config.get_text_config()._attn_implementation
    model.set_attn_implementation(NAME)
    model.requires_grad_(False)
    model.train()  # else transformers makes no activations again
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        generator = torch.Generator().manual_seed(seed)
        for _ in range(draws):
            _backward(model, ids_L, heads.first, generator)
    finally:
        model.gradient_checkpointing_disable()
        model.eval()
        model.set_attn_implementation(before)
    return [heads.losses(level) for level in levels]


def _backward(model: Any, ids_L: Any, first: int, generator: Any) -> None:
    """Draw labels of the second half from the predictions; send their gradients back."""
    import torch

    embedded = model.get_input_embeddings()(ids_L[None]).requires_grad_(True)
    hidden = model.base_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
    end = hidden.detach().requires_grad_(True)
    for at in range(first, len(ids_L), LOGIT_ROWS):
        stop = min(at + LOGIT_ROWS, len(ids_L))
        logits = model.get_output_embeddings()(end[0, at - 1 : stop - 1]).float()
        log_p = logits.log_softmax(-1)
        drawn = torch.multinomial(log_p.detach().exp(), 1, generator=generator)
        log_p.gather(1, drawn).sum().backward()
    hidden.backward(end.grad)


def level_configs(window: int, chunk: int, counts: Iterable[int], sinks: int) -> list[DGAConfig]:
    """Return settings that leave so many single tokens of a chunk, then full attention.

    `counts` must be what groups of 5 can leave: chunk minus a multiple of 4... any count of
    `chunk - 4 n` up to n = chunk / 5.
    """
    base = DGAConfig(chunk=chunk, window=window, sinks=sinks)
    return [*(with_units(base, count) for count in counts), full_config()]


def with_window(levels: Iterable[DGAConfig], window: int | None) -> tuple[DGAConfig, ...]:
    """Return the settings with another window where they have one.

    A short window while measuring makes far text of what a plan for long texts may leave raw.
    """
    return tuple(
        level if window is None or level.is_dense else replace(level, window=window)
        for level in levels
    )


def mean_losses(rows: Sequence[dict[str, Any]], levels: Sequence[str]) -> list[Any]:
    """Return the mean over texts, each text weighing the same: its losses over their total."""
    texts = sorted({row["document"] for row in rows})
    by_key = {(row["document"], row["level"]): row["losses"] for row in rows}
    least = levels[0]
    total = {t: sum(map(sum, by_key[t, least])) for t in texts}
    layers, heads = len(by_key[texts[0], least]), len(by_key[texts[0], least][0])
    return [
        [
            [
                sum(by_key[t, level][layer][head] / total[t] for t in texts) / len(texts)
                for head in range(heads)
            ]
            for layer in range(layers)
        ]
        for level in levels
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, help="texts to choose by; report on others")
    parser.add_argument("--model", default="smollm2-135m", help="a card, a folder or a GGUF file")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--draws", type=int, default=2, help="labels drawn for each token")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument(
        "--plan-window", type=int, help="of the plan; that of measuring if left out"
    )
    parser.add_argument("--chunk", type=int, default=160)
    parser.add_argument("--sinks", type=int, default=4)
    parser.add_argument("--units", nargs="+", type=int, default=[4, 10, 25, 40, 80])
    parser.add_argument("--budget", type=float, default=1 / 6, help="mean units over tokens")
    parser.add_argument("--rows", type=Path, required=True, help="JSON lines; grows, resumes")
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument(
        "--gate", action="store_true",
        help=f"also fit what a second reading would find: PLAN{SUFFIX}, for `reread: false`",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--precision", default="highest", choices=("highest", "medium"),
        help="medium: products of float32 tensors may be rounded to bfloat16",
    )  # fmt: skip
    return parser.parse_args(arguments)


def measure(
    model: Any, tokenizer: Any, document: Document, levels: Sequence[DGAConfig],
    args: argparse.Namespace,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return a row for each level of one text."""
    import torch

    ids = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
    if len(ids) < args.tokens:
        raise ValueError(f"{document.name} has {len(ids)} tokens, {args.tokens} are needed")
    losses = head_losses(model, torch.tensor(ids[: args.tokens]), levels, draws=args.draws)
    return [
        {
            "model": Path(args.model).name, "document": document.id, "tokens": args.tokens,
            "draws": args.draws, "level": json.dumps(level.to_dict(), sort_keys=True),
            "losses": loss,
        }
        for level, loss in zip(levels, losses, strict=True)
    ]  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    import torch

    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision(args.precision)
    levels = level_configs(args.window, args.chunk, args.units, args.sinks)
    names = [json.dumps(level.to_dict(), sort_keys=True) for level in levels]
    rows: list[dict[str, Any]] = []
    if args.rows.exists():
        rows = [json.loads(line) for line in args.rows.read_text("utf-8").splitlines()]
    known = {(row["document"], row["tokens"], row["level"]) for row in rows}
    documents = read_documents(args.texts)
    model, tokenizer = load(args.model, "cpu")
    for document in documents:
        missing = [
            level
            for level, name in zip(levels, names, strict=True)
            if (document.id, args.tokens, name) not in known
        ]
        for row in measure(model, tokenizer, document, missing, args) if missing else []:
            rows.append(row)
            with args.rows.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
    wanted = {d.id for d in documents}
    used = [r for r in rows if r["document"] in wanted and r["tokens"] == args.tokens]
    heads = allocate(mean_losses(used, names), [units_share(one) for one in levels], args.budget)
    plan = HeadPlan(
        model=Path(args.model).name, levels=with_window(levels, args.plan_window), heads=heads
    )
    measured = {"chosen_on": sorted(wanted), "tokens": args.tokens, "window": args.window}
    plan.write(args.plan, measured=measured)
    sys.stdout.writelines(f"{line}\n" for line in lines(plan, args.tokens))
    if args.gate:
        gate = fit_gate(model, tokenizer, documents, tokens=args.tokens, chunk=args.chunk)
        gate.write(args.plan.with_suffix(SUFFIX))
        sys.stdout.write(f"the gate: {args.plan.with_suffix(SUFFIX)}\n")
    sys.stdout.write(f"for the model's card: {json.dumps({'attention': card_options(plan)})}\n")


def fit_gate(
    model: Any, tokenizer: Any, documents: Sequence[Document], *, tokens: int, chunk: int
) -> Gate:
    """Read the first tokens of each text twice; return the gate that predicts the scores."""
    from fdvs.models.llm.attention import enable, set_attention
    from fdvs.models.llm.engine import context_tokens
    from fdvs.models.llm.gate import GateFit
    from fdvs.models.llm.rereading import INSTRUCTION

    before = model.config.get_text_config()._attn_implementation
    fit = GateFit(model, chunk=chunk)
    instruction = tokenizer(INSTRUCTION, add_special_tokens=False)["input_ids"]
    most = context_tokens(model, tokenizer)
    enable(model, full_config())
    try:
        for document in documents:
            ids = tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"]
            fit.add(ids[:tokens], instruction=instruction, most_positions=most)
    finally:
        set_attention(model, before)
    return fit.solve()


def card_options(plan: HeadPlan) -> dict[str, Any]:
    """Return a plan in the form of a model card's `options: attention:`.

    The most frequent level is the default; other layers list how each head differs.
    """
    flat = [at for layer in plan.heads for at in layer]
    common = plan.levels[max(range(len(plan.levels)), key=flat.count)]
    layers: dict[str, Any] = {}
    runs: list[tuple[int, int, list[dict[str, Any]]]] = []
    for index, row in enumerate(plan.heads):
        heads = [differences(plan.levels[at], common) for at in row]
        if runs and runs[-1][1] == index - 1 and runs[-1][2] == heads:
            runs[-1] = (runs[-1][0], index, heads)
        elif any(heads):
            runs.append((index, index, heads))
    for first, last, heads in runs:
        layers[str(first) if first == last else f"{first}-{last}"] = heads
    return {"default": differences(common, DGAConfig()), "layers": layers}


def differences(config: DGAConfig, base: DGAConfig) -> dict[str, Any]:
    """Return the settings that differ from `base`; full attention is only named."""
    if config.is_dense and not base.is_dense:
        return {"select": "full"}
    values = base.to_dict()
    return {name: value for name, value in config.to_dict().items() if value != values[name]}


def lines(plan: HeadPlan, tokens: int) -> list[str]:
    """Say how many heads got what."""
    flat = [at for layer in plan.heads for at in layer]
    said = [
        f"{flat.count(at)} of {len(flat)} key heads keep {units_share(level):.1%} of the tokens "
        f"as units, {kept_share(level, tokens):.1%} of {tokens} in all"
        for at, level in enumerate(plan.levels)
    ]
    return [*said, f"mean {plan.units_share():.1%}, {plan.kept_share(tokens):.1%} in all"]


if __name__ == "__main__":
    main()

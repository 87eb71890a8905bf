"""Fine-tune a language model to grouped attention, and measure the gap to full attention.

    python scripts/finetune_dga.py TRAIN --held-out TEXTS --run RUN --arms full single pooled

Every arm starts from the same model, reads the same batches in the same order and learns with the
same settings; arms differ in the attention only. The gap is the held-out perplexity of an arm over
that of `full` **after as many steps**: what grouping still costs a model that was trained for it.
TRAIN and TEXTS are text files, Parquet files with a column `text` (needs pyarrow), or folders.

RUN holds, for each arm, the state after the last `--save-every` steps: the trained weights and the
optimizer's moments as safetensors, and the step as JSON. A state is written under another name and
renamed, so a run that was killed goes on from the last whole one, and ends as if it had never
stopped: batches follow from seed and step. Rows (`--csv`) hold ids and numbers, never text.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from finetune_texts import Document, blocks, held_out_ids, read_documents

from fdvs.errors import how_to_install
from fdvs.kernels.dga import DGAConfig, full_config

FULL = "full"
COLUMNS = ("model", "arm", "step", "tokens_read", "document", "tokens", "nll", "train_loss")
#: Trained by LoRA: the projections of attention, under the names that most models give them.
PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj")
WEIGHTS, MOMENTS, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
#: Tokens whose logits are held at once.
LOGIT_ROWS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Say how an arm is trained; a run is resumed only with an equal plan.

    Attributes:
        tokens: length of a training sequence.
        batch: sequences of one step, one after the other (gradients are summed).
        rank: of the LoRA adapters on the attention's projections; 0 trains every weight.
        warm_up: steps over which the learning rate rises; it then stays.
        checkpointing: make activations again in the backward pass; a third slower, far less memory.
    """

    model: str
    tokens: int = 1024
    batch: int = 1
    steps: int = 60
    rank: int = 8
    learning_rate: float = 5e-4
    warm_up: int = 5
    clip: float = 1.0
    checkpointing: bool = False
    seed: int = 0

    def rate(self, step: int) -> float:
        """Return the learning rate of a step (from 0)."""
        return self.learning_rate * min(1.0, (step + 1) / max(1, self.warm_up))

    def digest(self, config: DGAConfig, train: Sequence[Document]) -> str:
        """Tell runs of other settings or texts from this one; more steps are the same run."""
        own = {name: getattr(self, name) for name in self.__slots__ if name != "steps"}
        told = json.dumps([own, config.to_dict(), [d.id for d in train]], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:16]


class Run:
    """The saved states of one arm: a folder for each, the newest whole one counts."""

    def __init__(self, folder: Path, digest: str) -> None:
        """Use a folder; it is made when something is saved."""
        self.folder, self.digest = folder, digest

    def latest(self) -> Path | None:
        """Return the newest whole state, or None.

        Raises:
            ValueError: it belongs to a run with other settings or texts.
        """
        whole = sorted(self.folder.glob("step-[0-9]*"), key=lambda path: int(path.name[5:]))
        if not whole:
            return None
        told = json.loads((whole[-1] / STATE).read_text("utf-8"))
        if told.get("digest") != self.digest:
            raise ValueError(
                f"{self.folder} was trained with other settings or texts; name another --run"
            )
        return whole[-1]

    def save(self, step: int, weights: dict[str, Any], moments: dict[str, Any]) -> None:
        """Write a state, make it the newest, and drop the older ones."""
        from safetensors.torch import save_file

        part = self.folder / f"part-{step}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        save_file({k: v.detach().contiguous() for k, v in weights.items()}, part / WEIGHTS)
        save_file({k: v.detach().contiguous() for k, v in moments.items()}, part / MOMENTS)
        (part / STATE).write_text(json.dumps({"step": step, "digest": self.digest}), "utf-8")
        for path in (*part.iterdir(), part):
            _sync(path)
        target = self.folder / f"step-{step}"
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
        _sync(self.folder)
        for old in self.folder.glob("step-[0-9]*"):
            if old != target:
                shutil.rmtree(old)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class Arm:
    """One model in training with one attention."""

    def __init__(self, name: str, model: Any, plan: Plan, config: DGAConfig, run: Run) -> None:
        """Prepare the model and load the newest state, if there is one."""
        import torch

        from fdvs.models.llm.attention import enable

        self.name, self.plan, self.run = name, plan, run
        enable(model, config)
        self.model = model
        torch.manual_seed(plan.seed)
        if plan.rank:
            _add_lora(model, plan.rank)
        model.config.use_cache = False
        # on a GPU the base may be bfloat16; what is trained stays float32
        self.trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
        for parameter in self.trained.values():
            parameter.data = parameter.data.float()
        self.optimizer = torch.optim.AdamW(
            self.trained.values(), lr=plan.learning_rate, weight_decay=0.0
        )
        self.step = self._load()

    def train_step(self, sequences: Any) -> float:
        """Learn from a batch [sequences, tokens]; return its mean loss (nats a token)."""
        import torch

        self.model.train()
        _switch_checkpointing(self.model, self.plan.checkpointing)
        for group in self.optimizer.param_groups:
            group["lr"] = self.plan.rate(self.step)
        total = 0.0
        for ids_L in sequences:
            loss = mean_loss(self.model, ids_L, 1)
            (loss / len(sequences)).backward()
            total += float(loss.detach()) / len(sequences)
        torch.nn.utils.clip_grad_norm_(list(self.trained.values()), self.plan.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if not math.isfinite(total):
            raise RuntimeError(f"loss {total} at step {self.step}; lower --learning-rate")
        return total

    def held_out(self, ids_L: Any) -> float:
        """Return the mean loss of the second half of a text."""
        import torch

        self.model.eval()
        _switch_checkpointing(self.model, False)
        with torch.no_grad():
            return float(mean_loss(self.model, ids_L, len(ids_L) // 2))

    def save(self) -> None:
        """Write weights and moments."""
        moments = {}
        for name, parameter in self.trained.items():
            for kind, value in self.optimizer.state[parameter].items():
                moments[f"{kind}/{name}"] = value
        self.run.save(self.step, dict(self.trained), moments)

    def _load(self) -> int:
        from safetensors.torch import load_file

        place = self.run.latest()
        if place is None:
            return 0
        weights, moments = load_file(place / WEIGHTS), load_file(place / MOMENTS)
        if set(weights) != set(self.trained):
            raise ValueError(f"{place} holds other weights than the model; name another --run")
        for name, parameter in self.trained.items():
            parameter.data.copy_(weights[name])
            kinds = {key.split("/", 1)[0] for key in moments}
            device = parameter.device
            self.optimizer.state[parameter] = {
                kind: moments[f"{kind}/{name}"].to("cpu" if kind == "step" else device)
                for kind in sorted(kinds)
                if f"{kind}/{name}" in moments
            }
        return int(json.loads((place / STATE).read_text("utf-8"))["step"])


def mean_loss(model: Any, ids_L: Any, first: int) -> Any:
    """Return the mean loss of the tokens from `first` on, a scalar tensor.

    Logits are made in pieces that the backward pass makes again: all of a long text would not fit.
    """
    import torch
    from torch.utils.checkpoint import checkpoint

    device = next(model.parameters()).device
    ids_L = ids_L.to(device)

    def loss_of(hidden_TE: Any, ids_T: Any) -> Any:
        logits = model.get_output_embeddings()(hidden_TE).float()
        return torch.nn.functional.cross_entropy(logits, ids_T, reduction="sum")

    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        hidden_LE = model.base_model(ids_L[None], use_cache=False).last_hidden_state[0]
        total = hidden_LE.new_zeros((), dtype=torch.float32)
        for at in range(first, len(ids_L), LOGIT_ROWS):
            end = min(at + LOGIT_ROWS, len(ids_L))
            part = (hidden_LE[at - 1 : end - 1], ids_L[at:end])
            total = total + checkpoint(loss_of, *part, use_reentrant=False)
    return total / (len(ids_L) - first)


def _add_lora(model: Any, rank: int) -> None:
    """Put adapters into the model itself and freeze the rest."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise RuntimeError(
            f"LoRA needs peft; train every weight with --rank 0, or {how_to_install('finetune')}"
        ) from None

    model.requires_grad_(False)
    names = [name for name, _ in model.named_modules() if name.rsplit(".", 1)[-1] in PROJECTIONS]
    if not names:
        raise RuntimeError(f"the model has no modules {PROJECTIONS}; train it with --rank 0")
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names)
    inject_adapter_in_model(config, model)


def _switch_checkpointing(model: Any, on: bool) -> None:
    if on and not model.is_gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    elif not on and model.is_gradient_checkpointing:
        model.gradient_checkpointing_disable()


def arm_configs(chunk: int, window: int, rate: float, group: int) -> dict[str, DGAConfig]:
    """Return the attention of each arm; the grouped ones leave the same number of units."""
    base = DGAConfig(
        importance_rate=rate, group_size=group, chunk=chunk, window=window,
        score_queries=min(32, window + 1),
    )  # fmt: skip
    return {FULL: full_config(), "single": base, "pooled": replace(base, pool=True)}


class Rows:
    """Held-out losses in a CSV file that only grows; a row that is there is not measured again."""

    def __init__(self, path: Path) -> None:
        """Read what is there."""
        self.path = path
        self.rows: list[dict[str, str]] = []
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = [row for row in csv.DictReader(file) if row.get("train_loss")]

    def has(self, arm: str, step: int, document: str) -> bool:
        """Return whether a row is there."""
        want = (arm, str(step), document)
        return any((r["arm"], r["step"], r["document"]) == want for r in self.rows)

    def add(self, row: dict[str, Any]) -> None:
        """Append a row and see it on disk; the file is rewritten whole and renamed."""
        self.rows.append({k: f"{v:.6g}" if type(v) is float else str(v) for k, v in row.items()})
        part = self.path.with_suffix(".part")
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
        os.replace(part, self.path)


def gaps(rows: Iterable[dict[str, str]]) -> dict[str, dict[int, list[float]]]:
    """Return, for each grouped arm and step, perplexity over that of `full` for each document."""
    loss = {(r["arm"], int(r["step"]), r["document"]): float(r["nll"]) for r in rows}
    out: dict[str, dict[int, list[float]]] = {}
    for (arm, step, document), nll in sorted(loss.items()):
        full = loss.get((FULL, step, document))
        if arm != FULL and full is not None:
            out.setdefault(arm, {}).setdefault(step, []).append(math.exp(nll - full))
    return out


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean over documents and its 95 % bootstrap interval."""
    import random

    draw, count = random.Random(0), len(values)
    means = sorted(sum(draw.choices(values, k=count)) / count for _ in range(2000))
    return sum(values) / count, means[50], means[-51]


def gap_lines(rows: Iterable[dict[str, str]]) -> Iterator[str]:
    """Write the gaps as lines of a Markdown table."""
    yield "| arm | step | documents | gap | 95 % |"
    yield "|---|---|---|---|---|"
    for arm, steps in gaps(rows).items():
        for step, ratios in steps.items():
            mean, low, high = interval(ratios)
            yield (
                f"| {arm} | {step} | {len(ratios)} | {mean - 1:+.2%} "
                f"| {low - 1:+.2%} to {high - 1:+.2%} |"
            )


def plot(rows: Sequence[dict[str, str]], path: Path) -> None:
    """Draw the gap over the steps, with its interval, and the held-out loss of every arm."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    for arm, steps in gaps(rows).items():
        bands = [interval(ratios) for ratios in steps.values()]
        left.plot(list(steps), [100 * (mean - 1) for mean, _, _ in bands], "o-", label=arm)
        left.fill_between(
            list(steps), [100 * (b[1] - 1) for b in bands], [100 * (b[2] - 1) for b in bands],
            alpha=0.2,
        )  # fmt: skip
    left.axhline(0, color="grey", lw=0.8)
    left.set(xlabel="steps", ylabel="perplexity over full attention, %")
    left.legend()
    for arm in dict.fromkeys(row["arm"] for row in rows):
        own: dict[int, list[float]] = {}
        for row in rows:
            if row["arm"] == arm:
                own.setdefault(int(row["step"]), []).append(float(row["nll"]))
        at = sorted(own)
        right.plot(at, [sum(own[s]) / len(own[s]) for s in at], "o-", label=arm)
    right.set(xlabel="steps", ylabel="held-out loss, nats a token")
    right.legend()
    figure.savefig(path)
    plt.close(figure)


def train_arm(
    arm: Arm, train: Any, held_out: dict[str, Any], rows: Rows, *, measure_every: int,
    save_every: int,
) -> None:  # fmt: skip
    """Train to the last step; measure before the first, every so often, and at the end."""
    plan, loss = arm.plan, math.nan
    while True:
        if arm.step % measure_every == 0 or arm.step == plan.steps:
            for document, ids_L in held_out.items():
                if not rows.has(arm.name, arm.step, document):
                    rows.add({
                        "model": Path(plan.model).name, "arm": arm.name, "step": arm.step,
                        "tokens_read": arm.step * plan.batch * plan.tokens, "document": document,
                        "tokens": len(ids_L), "nll": arm.held_out(ids_L), "train_loss": loss,
                    })  # fmt: skip
            print(f"{arm.name} step {arm.step} loss {loss:.4f}", flush=True)
        if arm.step >= plan.steps:
            return
        loss = arm.train_step(batch_of(train, arm.step, plan))
        if arm.step % save_every == 0 or arm.step == plan.steps:
            arm.save()


def batch_of(blocks_NL: Any, step: int, plan: Plan) -> Any:
    """Return the sequences of a step: the texts in an order drawn anew for each pass."""
    import torch

    picked = []
    for at in range(step * plan.batch, (step + 1) * plan.batch):
        lap, place = divmod(at, len(blocks_NL))
        order = torch.randperm(
            len(blocks_NL), generator=torch.Generator().manual_seed(plan.seed + lap)
        )
        picked.append(blocks_NL[order[place]])
    return torch.stack(picked)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--held-out", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True, help="folder of states; resumes")
    parser.add_argument("--model", default="smollm2-135m", help="card, folder, hub name or GGUF")
    parser.add_argument("--arms", nargs="+", default=[FULL, "single", "pooled"])
    for name, value in (("tokens", 1024), ("batch", 1), ("steps", 60), ("rank", 8), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--learning-rate", type=float, default=5e-4)
    parser.add_argument("--checkpointing", action="store_true", help="slower, far less memory")
    parser.add_argument("--chunk", type=int, default=160)
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--importance-rate", type=float, default=0.1)
    parser.add_argument("--group-size", type=int, default=16)
    parser.add_argument("--held-out-tokens", type=int, help="default: as --tokens")
    parser.add_argument("--measure-every", type=int, default=10)
    parser.add_argument("--save-every", type=int, default=5)
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--plot", type=Path, help="SVG or PNG (needs matplotlib)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--precision", default="highest", choices=("highest", "medium"),
        help="medium: products of float32 tensors may be rounded to bfloat16",
    )  # fmt: skip
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def load(name: str, device: str) -> tuple[Any, Any]:
    """Load a card, a folder, a GGUF file or a name on a hub; bfloat16 weights on a GPU."""
    import torch

    from fdvs.errors import FdvsError
    from fdvs.models.cards import load_card
    from fdvs.models.llm.attention import load_causal_lm
    from fdvs.models.weights.fetch import model_folder
    from fdvs.models.weights.gguf import as_folder, find_gguf

    place: Path | str = Path(name)
    if not Path(name).exists():
        try:
            place = model_folder(load_card(name))
        except FdvsError:
            if "/" not in name:
                raise
            place = name  # a hub's owner/name
    gguf = find_gguf(place) if isinstance(place, Path) else None
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    model, tokenizer, _ = load_causal_lm(
        place if gguf is None else as_folder(gguf), dtype=dtype, device=device
    )
    return model, tokenizer


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    import torch

    torch.set_num_threads(args.threads)
    torch.set_float32_matmul_precision(args.precision)
    configs = arm_configs(args.chunk, args.window, args.importance_rate, args.group_size)
    if unknown := [name for name in args.arms if name not in configs]:
        raise SystemExit(f"--arms {unknown}: choose of {sorted(configs)}")
    texts = read_documents(args.train)
    plan = Plan(
        model=args.model, tokens=args.tokens, batch=args.batch, steps=args.steps, rank=args.rank,
        learning_rate=args.learning_rate, seed=args.seed, checkpointing=args.checkpointing,
    )  # fmt: skip
    rows = Rows(args.csv)
    # full first, so that the gap is known while the others train
    for name in sorted(dict.fromkeys(args.arms), key=lambda arm: arm != FULL):
        model, tokenizer = load(args.model, args.device)
        run = Run(args.run / name, plan.digest(configs[name], texts))
        arm = Arm(name, model, plan, configs[name], run)
        train = blocks(tokenizer, texts, args.tokens)
        held_out = held_out_ids(
            tokenizer, read_documents(args.held_out), args.held_out_tokens or args.tokens
        )
        train_arm(
            arm, train, held_out, rows, measure_every=args.measure_every,
            save_every=args.save_every,
        )  # fmt: skip
        if args.plot is not None and len({r["arm"] for r in rows.rows}) > 1:
            plot(rows.rows, args.plot)
    sys.stdout.writelines(f"{line}\n" for line in gap_lines(rows.rows))


if __name__ == "__main__":
    main()

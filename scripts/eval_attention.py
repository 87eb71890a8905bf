"""Measure what grouped attention costs in quality: perplexity and needles, against full attention.

    python scripts/eval_attention.py TEXTS --model smollm2-135m --rows runs.jsonl --csv quality.csv
    python scripts/eval_attention.py TEXTS --needle --rows needles.jsonl --csv needles.csv

TEXTS is a text file, or a folder with one folder a domain and one text file a document. The
perplexity is that of the second half of the first `--tokens` tokens. Every result is one line of
`--rows`, written at once: a run that is started again goes on where it stopped. Rows hold ids and
numbers, never text. The table that is printed has the mean ratio to full attention a domain and
the bootstrap interval of that mean over documents.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import math
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fdvs.kernels.dga import DGAConfig, full_config, quality_config

FULL = "full"
COLUMNS = (
    *("model", "domain", "document", "tokens", "settings", "units_share", "kept_share"),
    *("nll", "ratio"),
)
NEEDLE_COLUMNS = ("model", "domain", "document", "tokens", "depth", "settings", "found")
#: What tells one result from another.
KEY = ("kind", "model", "domain", "document", "tokens", "depth", "settings", "config")
#: Positions whose logits are held at once.
LOGIT_ROWS = 512
#: Draws of the bootstrap, and the share of them that the interval leaves out.
DRAWS, OUTSIDE = 2000, 0.05
BASE = DGAConfig(pool=True, score="attention")
SINGLE = replace(BASE, pool=False)
#: Layers of SmolLM2-135M that lose most where tokens are missing, and what the others then get:
#: 85 units of a chunk in 6 layers and 10 in 24 are 25 on average.
RICH = range(18, 24)
RICH_LAYERS = dict.fromkeys(RICH, replace(SINGLE, importance_rate=0.5))
#: The settings by name. `window_and_one` keeps one token a chunk beside the window: what the
#: units are for.
TABLE: dict[str, dict[str, Any]] = {
    FULL: {"config": full_config()},
    "default": {"config": DGAConfig()},
    "quality": {"config": quality_config()},
    "pooled": {"config": BASE},
    "single": {"config": SINGLE},
    "single_window_512": {"config": replace(SINGLE, window=512)},
    "single_128_judges": {"config": replace(SINGLE, score_queries=128)},
    "layers": {"config": replace(SINGLE, importance_rate=0.0), "layers": RICH_LAYERS},
    "layers_quarter": {"config": SINGLE, "layers": RICH_LAYERS},
    "layers_window_512": {
        "config": replace(SINGLE, importance_rate=0.0, window=512),
        "layers": dict.fromkeys(RICH, replace(SINGLE, importance_rate=0.5, window=512)),
    },
    "random": {"config": replace(BASE, pool=False, score="random")},
    "window_and_one": {
        "config": DGAConfig(
            pool=False, score="random", importance_rate=0.0, group_size=160, sinks=1
        )
    },
}
NEEDLE = "\n\nRemember this: the secret number is {number}.\n\n"
QUESTION = "\n\nQuestion: what is the secret number?\nAnswer: the secret number is"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Name one way to attend; `layers` are those with settings of their own, by index."""

    name: str
    config: DGAConfig
    layers: Mapping[int, DGAConfig] = field(default_factory=dict)

    def units_share(self, num_layers: int) -> float:
        """Units over tokens where they are grouped, mean over layers; raw tail not counted."""
        each = [self.layers.get(index, self.config) for index in range(num_layers)]
        kept = (1.0 if c.is_dense else c.units_per_chunk / c.chunk for c in each)
        return sum(kept) / num_layers

    def kept_share(self, tokens: int, num_layers: int) -> float:
        """Tokens' worth of keys and values left after a text (units and raw tail), over all."""
        total = 0
        for config in (self.layers.get(index, self.config) for index in range(num_layers)):
            built = config.chunks_built(tokens)
            total += tokens - built * (config.chunk - config.units_per_chunk)
        return total / (num_layers * tokens)

    @property
    def digest(self) -> str:
        """Tell settings of the same name from each other."""
        own = {str(index): config.to_dict() for index, config in self.layers.items()}
        told = json.dumps([self.config.to_dict(), own], sort_keys=True)
        return hashlib.sha256(told.encode()).hexdigest()[:8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """Hold a text; `name` tells it from others of its domain."""

    domain: str
    name: str
    text: str = field(repr=False)

    @property
    def id(self) -> str:
        """Name and a hash of the text: a changed text is another document."""
        return f"{self.name}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"


def settings() -> dict[str, Setting]:
    """Return the named settings: the baseline, the presets, controls and ablations."""
    return {name: Setting(name=name, **how) for name, how in TABLE.items()}


def find_documents(source: Path) -> list[Document]:
    """Return the texts of a file or of a folder of domains, sorted.

    Raises:
        ValueError: nothing there, or a file that is not UTF-8 text.
    """
    if source.is_file():
        files = [source]
    else:
        files = sorted(path for path in source.rglob("*") if path.is_file())
    if not files:
        raise ValueError(f"{source} holds no text files; name a file, or a folder DOMAIN/FILE")
    return [
        Document(
            domain=path.parent.name if path.parent != source else source.name,
            name=path.stem,
            text=_read(path),
        )
        for path in files
    ]


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text ({error.reason}); convert it") from None


class Rows:
    """Results in a file of JSON lines that only grows."""

    def __init__(self, path: Path) -> None:
        """Read what is there; a last line that was cut off is left out."""
        self.path = path
        self.rows: list[dict[str, Any]] = []
        text = path.read_text("utf-8") if path.exists() else ""
        whole = text.rfind("\n") + 1
        for number, line in enumerate(text[:whole].splitlines(), 1):
            try:
                self.rows.append(json.loads(line))
            except ValueError:
                raise ValueError(f"{path}:{number} is not JSON; repair or drop the line") from None
        if whole != len(text):
            path.write_text(text[:whole], "utf-8")
        self._known = {_key(row) for row in self.rows}

    def __contains__(self, row: dict[str, Any]) -> bool:
        return _key(row) in self._known

    def add(self, row: dict[str, Any]) -> None:
        """Append one result and see it on disk."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, sort_keys=True) + "\n")
        self.rows.append(row)
        self._known.add(_key(row))


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in KEY)


def with_ratios(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the perplexity rows that have a baseline, with their ratio to it."""
    rows = [row for row in rows if row["kind"] == "perplexity"]
    place = ("model", "domain", "document", "tokens")
    full = {tuple(r[k] for k in place): r["nll"] for r in rows if r["settings"] == FULL}
    return [
        {**row, "ratio": math.exp(row["nll"] - full[at])}
        for row in rows
        if (at := tuple(row[k] for k in place)) in full
    ]


def bootstrap(values: Sequence[float], *, seed: int = 0) -> tuple[float, float, float]:
    """Return the mean and the 95 % percentile interval of the mean over documents.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("no values to average; run the baseline and the settings first")
    draw = random.Random(seed)
    means = sorted(sum(draw.choices(values, k=len(values))) / len(values) for _ in range(DRAWS))
    cut = round(DRAWS * OUTSIDE / 2)
    return sum(values) / len(values), means[cut], means[-1 - cut]


def summary(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return, for every model, length, domain and setting, the mean ratio and its interval."""
    kinds: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in with_ratios(rows):
        at = (row["model"], row["tokens"], row["domain"], row["settings"])
        kinds.setdefault(at, []).append(row)
    out = []
    for (model, tokens, domain, name), group in kinds.items():
        mean, low, high = bootstrap([row["ratio"] for row in group])
        out.append({
            "model": model, "tokens": tokens, "domain": domain, "settings": name,
            "units_share": group[0]["units_share"], "kept_share": group[0]["kept_share"],
            "documents": len(group),
            "ratio": mean, "low": low, "high": high,
        })  # fmt: skip
    return out


def table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Write the summary as lines of a Markdown table."""
    yield "| model | tokens | domain | settings | units | kept | documents | ratio | 95 % |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for r in summary(rows):
        yield (
            f"| {r['model']} | {r['tokens']} | {r['domain']} | {r['settings']} "
            f"| {r['units_share']:.1%} | {r['kept_share']:.1%} | {r['documents']} "
            f"| {r['ratio']:.4f} | {r['low']:.4f} to {r['high']:.4f} |"
        )


def place_needle(text_ids: list[int], needle_ids: list[int], depth: float) -> list[int]:
    """Put the needle at a share of the text (0: first, 1: last)."""
    at = round(depth * len(text_ids))
    return [*text_ids[:at], *needle_ids, *text_ids[at:]]


def secret(document: str, tokens: int, depth: float) -> str:
    """Return the number to be found: five digits, the same in every run."""
    told = hashlib.sha256(f"{document}/{tokens}/{depth}".encode()).digest()
    return str(10000 + int.from_bytes(told[:4]) % 90000)


def found(answer: str, number: str) -> bool:
    """Return whether the first number of an answer is the one that was asked for."""
    digits = "".join(c if c.isdigit() else " " for c in answer).split()
    return bool(digits) and digits[0] == number


def second_half_nll(model: Any, ids: Any, setting: Setting) -> float:
    """Return the mean loss (nats) of the tokens of the second half, read in one go.

    Args:
        ids: token ids, [tokens].
    """
    import torch
    from torch.nn.functional import cross_entropy

    with torch.inference_mode():
        hidden_LE = model.base_model(
            ids[None], past_key_values=cache_for(model, setting), use_cache=True
        ).last_hidden_state[0]
        first, last, total = len(ids) // 2, len(ids), 0.0
        for at in range(first, last, LOGIT_ROWS):
            end = min(at + LOGIT_ROWS, last)
            logits = model.get_output_embeddings()(hidden_LE[at - 1 : end - 1]).float()
            total += cross_entropy(logits, ids[at:end], reduction="sum").item()
    return total / (last - first)


def answer_of(model: Any, tokenizer: Any, ids: list[int], setting: Setting) -> str:
    """Let the model write on greedily for a few tokens."""
    import torch

    from fdvs.models.attention import generate

    made = generate(
        model, torch.tensor([ids]), max_new_tokens=10, cache=cache_for(model, setting),
        pad_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return str(tokenizer.decode(made.new_tokens[0], skip_special_tokens=True))


def cache_for(model: Any, setting: Setting) -> Any:
    """Return an empty cache with the settings."""
    from fdvs.models.attention import make_cache

    return make_cache(model, setting.config, layer_configs=setting.layers)


def measure_perplexity(
    model: Any, tokenizer: Any, name: str, document: Document, chosen: Sequence[Setting],
    tokens: int, rows: Rows,
) -> None:  # fmt: skip
    """Measure what is not in the rows yet. Raises ValueError for a text that is too short."""
    import torch

    ids = _ids(tokenizer, document, tokens)
    num_layers = model.config.get_text_config().num_hidden_layers
    for setting in chosen:
        row: dict[str, Any] = {
            "kind": "perplexity", "model": name, "domain": document.domain,
            "document": document.id, "tokens": tokens, "settings": setting.name,
            "config": setting.digest, "units_share": setting.units_share(num_layers),
            "kept_share": setting.kept_share(tokens, num_layers),
        }  # fmt: skip
        if row not in rows:
            rows.add({**row, "nll": second_half_nll(model, torch.tensor(ids), setting)})


def measure_needles(
    model: Any, tokenizer: Any, name: str, document: Document, chosen: Sequence[Setting],
    tokens: int, depths: Sequence[float], rows: Rows,
) -> None:  # fmt: skip
    """Hide a number at several depths, ask for it at the end."""
    for depth in depths:
        number = secret(document.id, tokens, depth)
        needle = tokenizer.encode(NEEDLE.format(number=number), add_special_tokens=False)
        question = tokenizer.encode(QUESTION, add_special_tokens=False)
        text = _ids(tokenizer, document, tokens - len(needle) - len(question))
        ids = [*place_needle(text, needle, depth), *question]
        for setting in chosen:
            row: dict[str, Any] = {
                "kind": "needle", "model": name, "domain": document.domain,
                "document": document.id, "tokens": tokens, "depth": depth,
                "settings": setting.name, "config": setting.digest,
            }  # fmt: skip
            if row not in rows:
                said = answer_of(model, tokenizer, ids, setting)
                rows.add({**row, "found": found(said, number)})


def _ids(tokenizer: Any, document: Document, tokens: int) -> list[int]:
    ids = list(tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"])
    if len(ids) < tokens:
        raise ValueError(
            f"{document.domain}/{document.name} has {len(ids)} tokens, {tokens} are needed; "
            "lower --tokens or leave it out"
        )
    return ids[:tokens]


def load(name: str) -> tuple[Any, Any]:
    """Load a model card, a local folder or a GGUF file. Raises ModelUnavailable, ModelError."""
    from fdvs.models.attention import load_causal_lm
    from fdvs.models.cards import load_card
    from fdvs.models.fetch import model_folder
    from fdvs.models.gguf import as_folder, find_gguf

    place = Path(name) if Path(name).exists() else model_folder(load_card(name))
    gguf = find_gguf(place)
    folder = place if gguf is None else as_folder(gguf)
    model, tokenizer, _ = load_causal_lm(folder, local_files_only=True)
    return model, tokenizer


def write_csv(rows: Iterable[dict[str, Any]], path: Path, *, needle: bool) -> None:
    """Write ids and numbers of one kind of result."""
    kept = [r for r in rows if r["kind"] == "needle"] if needle else with_ratios(rows)
    with path.open("w", newline="", encoding="utf-8") as file:
        columns = NEEDLE_COLUMNS if needle else COLUMNS
        writer = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in kept:
            writer.writerow({k: f"{v:.5g}" if type(v) is float else v for k, v in row.items()})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("texts", type=Path, help="a text file, or a folder DOMAIN/FILE")
    parser.add_argument("--model", default="smollm2-135m", help="a card, a folder or a GGUF file")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument(
        "--settings", nargs="+", default=[FULL, "default"], choices=sorted(TABLE), metavar="NAME",
        help=f"of: {', '.join(sorted(TABLE))}",
    )  # fmt: skip
    parser.add_argument("--rows", type=Path, required=True, help="JSON lines; grows, resumes")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--needle", action="store_true", help="needles instead of perplexity")
    parser.add_argument("--depths", nargs="+", type=float, default=[0.1, 0.3, 0.5, 0.7, 0.9])
    parser.add_argument("--documents", type=int, metavar="N", help="at most N a domain")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(arguments)


def first_of_each(documents: Iterable[Document], most: int | None) -> list[Document]:
    """Keep at most so many documents of each domain, in turns over the domains."""
    ranks: dict[str, int] = {}
    ranked = []
    for document in documents:
        rank = ranks[document.domain] = ranks.get(document.domain, -1) + 1
        if most is None or rank < most:
            ranked.append((rank, document.domain, document))
    return [document for *_, document in sorted(ranked, key=lambda entry: entry[:2])]


def main(arguments: Sequence[str] | None = None) -> None:
    args = parse(arguments)
    import torch

    torch.set_num_threads(args.threads)
    rows = Rows(args.rows)
    chosen = [settings()[name] for name in dict.fromkeys([FULL, *args.settings])]
    documents = first_of_each(find_documents(args.texts), args.documents)
    model, tokenizer = load(args.model)
    name = Path(args.model).name
    for document in documents:
        if args.needle:
            measure_needles(
                model, tokenizer, name, document, chosen, args.tokens, args.depths, rows
            )
        else:
            measure_perplexity(model, tokenizer, name, document, chosen, args.tokens, rows)
    if args.csv is not None:
        write_csv(rows.rows, args.csv, needle=args.needle)
    lines = needle_table(rows.rows) if args.needle else table(rows.rows)
    sys.stdout.writelines(f"{line}\n" for line in lines)


def needle_table(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Write how often the needle was found as lines of a Markdown table."""
    kinds: dict[tuple[Any, ...], list[bool]] = {}
    for row in rows:
        if row["kind"] == "needle":
            at = (row["model"], row["tokens"], row["settings"])
            kinds.setdefault(at, []).append(bool(row["found"]))
    yield "| model | tokens | settings | found | of |"
    yield "|---|---|---|---|---|"
    for (model, tokens, name), hits in kinds.items():
        yield f"| {model} | {tokens} | {name} | {sum(hits)} | {len(hits)} |"


if __name__ == "__main__":
    main()

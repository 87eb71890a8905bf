"""Measure what grouped attention costs in quality: perplexity and needles, against full attention.

    python research/eval_attention.py TEXTS --model smollm2-135m --rows runs.jsonl --csv quality.csv
    python research/eval_attention.py TEXTS --needle --rows needles.jsonl --csv needles.csv

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
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval_needles import measure_needles, needle_table
from eval_plots import needle_plot, quality_plot
from eval_settings import FULL, REREAD, TABLE, Setting, load, read, settings

COLUMNS = (
    *("model", "domain", "document", "tokens", "settings", "units_share", "kept_share"),
    *("nll", "ratio"),
)
NEEDLE_COLUMNS = (
    *("model", "domain", "document", "tokens", "needles", "depth", "settings", "found"),
)
#: What tells one result from another.
KEY = (
    *("kind", "model", "domain", "document", "tokens", "precision", "needles", "depth"),
    *("settings", "config"),
)
#: Positions whose logits are held at once.
LOGIT_ROWS = 512
#: Draws of the bootstrap, and the share of them that the interval leaves out.
DRAWS, OUTSIDE = 2000, 0.05


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
    place = ("model", "domain", "document", "tokens", "precision")
    full = {tuple(r.get(k) for k in place): r["nll"] for r in rows if r["settings"] == FULL}
    return [
        {**row, "ratio": math.exp(row["nll"] - full[at])}
        for row in rows
        if (at := tuple(row.get(k) for k in place)) in full
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


def second_half_nll(model: Any, tokenizer: Any, ids: Any, setting: Setting) -> float:
    """Return the mean loss (nats) of the tokens of the second half, read as the setting says.

    Args:
        ids: token ids, [tokens].
    """
    import torch
    from torch.nn.functional import cross_entropy

    with torch.inference_mode():
        hidden_LE, _ = read(model, tokenizer, ids, setting)
        first, last, total = len(ids) // 2, len(ids), 0.0
        for at in range(first, last, LOGIT_ROWS):
            end = min(at + LOGIT_ROWS, last)
            logits = model.get_output_embeddings()(hidden_LE[at - 1 : end - 1]).float()
            total += cross_entropy(logits, ids[at:end], reduction="sum").item()
    return total / (last - first)


def measure_perplexity(
    model: Any, tokenizer: Any, row: dict[str, Any], ids: list[int], chosen: Sequence[Setting],
    rows: Rows,
) -> None:  # fmt: skip
    """Measure what is not in the rows yet; `row` is what all of them have in common."""
    import torch

    num_layers = model.config.get_text_config().num_hidden_layers
    for setting in chosen:
        own = {
            **row, "kind": "perplexity", "settings": setting.name, "config": setting.digest,
            "units_share": setting.units_share(num_layers),
            "kept_share": setting.kept_share(row["tokens"], num_layers),
        }  # fmt: skip
        if own not in rows:
            rows.add({**own, "nll": second_half_nll(model, tokenizer, torch.tensor(ids), setting)})


def _ids(tokenizer: Any, document: Document, tokens: int) -> list[int]:
    ids = list(tokenizer(document.text, add_special_tokens=False, verbose=False)["input_ids"])
    if len(ids) < tokens:
        raise ValueError(
            f"{document.domain}/{document.name} has {len(ids)} tokens, {tokens} are needed; "
            "lower --tokens or leave it out"
        )
    return ids[:tokens]


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
        "--settings", nargs="+", default=[FULL, "default"], metavar="NAME",
        help=f"of: {', '.join(sorted(TABLE))}, and the names of --plans; NAME{REREAD}: judged by "
        "reading each passage again",
    )  # fmt: skip
    parser.add_argument("--rows", type=Path, required=True, help="JSON lines; grows, resumes")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--plot", type=Path, help="SVG or PNG (needs matplotlib)")
    parser.add_argument("--plans", nargs="+", type=Path, default=[], help="settings by head")
    parser.add_argument("--needle", action="store_true", help="needles instead of perplexity")
    parser.add_argument(
        "--together", action="store_true", help="all needles in one text, each asked for alone"
    )
    parser.add_argument("--depths", nargs="+", type=float, default=[0.1, 0.3, 0.5, 0.7, 0.9])
    parser.add_argument("--documents", type=int, metavar="N", help="at most N a domain")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--precision", default="highest", choices=("highest", "medium"),
        help="medium: products of float32 tensors may be rounded to bfloat16, in all settings",
    )  # fmt: skip
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
    torch.set_float32_matmul_precision(args.precision)
    known = settings(args.plans)
    if unknown := [name for name in args.settings if name not in known]:
        raise SystemExit(f"--settings {unknown}: choose of {sorted(known)}")
    rows = Rows(args.rows)
    chosen = [known[name] for name in dict.fromkeys([FULL, *args.settings])]
    documents = first_of_each(find_documents(args.texts), args.documents)
    model, tokenizer = load(args.model)
    for document in documents:
        row = {
            "model": Path(args.model).name, "domain": document.domain, "document": document.id,
            "tokens": args.tokens, "precision": args.precision,
        }  # fmt: skip
        ids = _ids(tokenizer, document, args.tokens)
        if args.needle:
            measure_needles(
                model, tokenizer, row, ids, chosen, args.depths, rows, together=args.together
            )
        else:
            measure_perplexity(model, tokenizer, row, ids, chosen, rows)
    report(rows.rows, args)


def report(rows: Sequence[dict[str, Any]], args: argparse.Namespace) -> None:
    """Write the table, the CSV file and the plot that were asked for."""
    if args.csv is not None:
        write_csv(rows, args.csv, needle=args.needle)
    if args.plot is not None and args.needle:
        needle_plot(rows, args.plot)
    elif args.plot is not None:
        quality_plot(summary(rows), args.plot)
    lines = needle_table(rows) if args.needle else table(rows)
    sys.stdout.writelines(f"{line}\n" for line in lines)


if __name__ == "__main__":
    main()

"""How many innocent texts are marked as orders to a model: captions and questions of datasets.

    python research/injection_alarms.py FOLDER [--num 30000] [--out benchmarks/injection_alarms.csv]

Texts are parted in two by a hash: bounds were chosen on the half "choose" and are reported on the
half "report". By words, by meaning (all-MiniLM-L6-v2, the offline preset's embedder), or both.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.presets import offline
from fdvs.prompting.injection import has_prompt_injection
from fdvs.prompting.orders_by_meaning import OrdersByMeaning

MIN_WORDS = 3
CHUNK = 500


def texts_in(value: Any) -> Iterator[str]:
    """Yield the sentences of nested JSON."""
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_in(one)


def read_texts(folder: Path) -> list[str]:
    """Return the different texts of all annotation files below a folder, in a fixed order."""
    found: dict[str, None] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        if path.suffix == ".json":
            new = texts_in(json.loads(path.read_text("utf-8")))
        elif path.suffix == ".csv":
            rows = csv.reader(path.open(encoding="utf-8", newline=""))
            new = (cell.strip() for row in rows for cell in row)
        elif path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                new = iter([t for n in archive.namelist() if n.endswith(".json")
                            for t in texts_in(json.loads(archive.read(n)))])  # fmt: skip
        elif path.name.startswith("charades_sta"):
            new = (line.rpartition("##")[2].strip() for line in path.open(encoding="utf-8"))
        else:
            continue
        found.update(dict.fromkeys(t for t in new if len(t.split()) >= MIN_WORDS))
    return list(found)


def half_of(text: str) -> str:
    return ("choose", "report")[int(hashlib.sha256(text.encode()).hexdigest(), 16) % 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--num", type=int, default=30_000, help="texts tested by meaning")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/injection_alarms.csv"))
    options = parser.parse_args()
    texts = read_texts(options.folder)
    random.Random(0).shuffle(texts)
    by_words = {text for text in texts if has_prompt_injection(text)}
    part = texts[: options.num]
    test = OrdersByMeaning(ModelSet(offline()).text_embedder)
    by_meaning: set[str] = set()
    for start in range(0, len(part), CHUNK):
        chunk = part[start : start + CHUNK]
        are = test.are_orders(chunk)
        by_meaning.update(text for text, is_order in zip(chunk, are, strict=True) if is_order)
    rows = []
    for half in ("choose", "report"):
        every, some = ({text for text in known if half_of(text) == half} for known in (texts, part))
        rows.append([half, "words", len(every), len(by_words & every)])
        rows.append([half, "meaning", len(some), len(by_meaning & some)])
        rows.append([half, "words or meaning", len(some), len((by_words | by_meaning) & some)])
    with options.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["half", "test", "num_texts", "num_marked"])
        writer.writerows(rows)
    for row in rows:
        print(f"{row[0]:7} {row[1]:17} {row[3]:5} of {row[2]:6}  {row[3] / row[2]:.3%}")
    for text in sorted((by_words | set(sorted(by_meaning)[:40])) & set(part))[:60]:
        print("  ", text[:150], file=sys.stderr)


if __name__ == "__main__":
    main()

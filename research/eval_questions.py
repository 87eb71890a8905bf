"""Ask questions of the made lectures and check the answers against a list, as rows of CSV.

    python research/make_lectures.py films && fdvs build films -l lectures
    python research/eval_questions.py lectures [--csv benchmarks/questions.csv] [--print]

`questions.json` holds questions with what an answer must hold: of every group of `facts` one of its
texts, in the quoted or written sentences or in the names of the cited videos; or that it must be
refused. Weights were chosen on the lecture `coffee` ("chosen"), the others report. `evidence`
quotes, `combined` lets the language model of the settings write and quotes what it cannot support,
`llm` lets it write alone; `nearest` is the text of the nearest chapter, as a search shows it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import csv_rows

from fdvs.config import Config
from fdvs.pipelines.library import Library
from fdvs.types import Answer

HERE = Path(__file__).parent
ANSWERERS = ("evidence", "combined", "llm")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("library", type=Path)
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--answerers", default=",".join(ANSWERERS))
    parser.add_argument("--print", action="store_true", help="print questions and answers, too")
    options = parser.parse_args(arguments)
    questions = json.loads((HERE / "questions.json").read_text("utf-8"))
    rows: list[dict[str, Any]] = []
    for name in options.answerers.split(","):
        judged = list(_judged(options.library, name, questions, options.print))
        rows += _rows(name, judged)
    rows += _rows("nearest chapter", list(_nearest(options.library, questions)))
    csv_rows.print_and_write(rows, options.csv)
    return 0


Judged = tuple[dict[str, Any], bool, int, float]  # question, right, words told, seconds


def _judged(
    folder: Path, answerer: str, questions: list[dict[str, Any]], show: bool
) -> Iterator[Judged]:
    def change(config: Config) -> Config:
        return replace(config, ask=replace(config.ask, answerer=answerer))  # type: ignore[arg-type]

    with Library.open(folder, create=False, change=change) as library:
        for one in questions:
            began = time.process_time()
            video = f"{one['video']}.mp4" if one["video"] else None
            found = library.ask(one["question"], video=video)
            spent_s = time.process_time() - began
            is_right = _is_right(one, found)
            if show:
                print(f"{'right' if is_right else 'WRONG'}  {one['question']}\n    {found.text}")
            yield one, is_right, len(found.said.split()), spent_s


def _is_right(one: dict[str, Any], found: Answer) -> bool:
    if one.get("refuse") or found.refused:
        return bool(one.get("refuse")) and found.refused
    cited = " ".join(c.name for s in found.sentences for c in s.citations)
    return _holds_all(one, f"{found.said} {cited}")


def _holds_all(one: dict[str, Any], text: str) -> bool:
    told = " ".join(text.lower().split())
    return all(any(word.lower() in told for word in group) for group in one["facts"])


def _nearest(folder: Path, questions: list[dict[str, Any]]) -> Iterator[Judged]:
    with Library.open(folder, create=False) as library:
        for one in questions:
            video = f"{one['video']}.mp4" if one["video"] else None
            found = library.search(one["question"], num=1, video=video, min_score=-1.0)
            text = f"{found[0].text} {found[0].name}" if found else ""
            is_right = not one.get("refuse") and _holds_all(one, text)
            yield one, is_right, len(text.split()), 0.0


def _rows(answerer: str, judged: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    for part in ("chosen", "reported"):
        for kind in ("to answer", "to refuse"):
            group = [
                j for j in judged
                if j[0]["part"] == part and bool(j[0].get("refuse")) == (kind == "to refuse")
            ]  # fmt: skip
            yield {
                "answerer": answerer, "part": part, "questions": kind, "num": len(group),
                "num_right": sum(right for _, right, _, _ in group),
                "words": round(sum(words for _, _, words, _ in group) / max(1, len(group)), 1),
            }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())

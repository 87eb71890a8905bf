"""Record what a user gets from FDVS, so that a change of structure can be held to equal bytes.

    python research/freeze.py record OUT.json --media FOLDER [--data FOLDER] [--fdvs PROGRAM]
    python research/freeze.py compare BEFORE.json AFTER.json

`record` builds a library of the media folder and writes down, as JSON without clock fields, the
results of list, story, search, ask (with and without a language model, with options) and, where
`--data` is given, of `eval all --quick`, and one digest of every stored row. It runs the program
from outside and reads the library's SQLite file itself, so the same script serves every version.
`compare` prints what differs and exits with 1 where anything does.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

#: Fields that hold measured seconds, and how a prompt came to be read. Never `start_s` or `end_s`.
CLOCK_FIELDS = {
    *("seconds", "retrieve_s", "read_s", "first_token_s", "write_s", "check_s", "story"),
    *("build_s", "total_s", "embed_s", "describe_s", "decode_s", "finish_s", "per_question_s"),
    *("seconds_by_stage", "cost", "stage_s", "peak_mib", "when", "date", "library"),
}
#: Stages whose rows hold measured seconds.
CLOCK_STAGES = {"cost"}
SEARCHES = ("a rabbit", "a car", "a bottle on a table", "two persons walk to a wall", "zxqv")
QUESTIONS = ("Where is the rabbit?", "What happens at the end?", "Who plays the violin?")
FILM = "big_buck_bunny_full_160x120_4fps.mp4"
OPTIONS = ("a rabbit", "a submarine", "a violin", "a desert")
EVIDENCE_ONLY = "ask: {answerer: evidence}\n"


def commands(configs: Path) -> dict[str, list[str]]:
    """Return the calls to record, by name; `configs` is a folder with evidence.yaml."""
    evidence = ["--config", str(configs / "evidence.yaml")]
    found = {"list": ["list"], "story": ["story", FILM], "chapters": ["story", FILM, "--chapters"]}
    for i, query in enumerate(SEARCHES):
        found[f"search {i}"] = ["search", query]
        found[f"search videos {i}"] = ["search", query, "--videos"]
    for i, question in enumerate(QUESTIONS):
        found[f"ask evidence {i}"] = ["ask", question, *evidence]
        found[f"ask in film {i}"] = ["ask", question, "--video", FILM, *evidence]
    found["ask model"] = ["ask", QUESTIONS[0], "--video", FILM]
    options = [word for option in OPTIONS for word in ("--option", option)]
    found["ask options"] = ["ask", "What can be seen?", "--video", FILM, *options]
    found["ask options evidence"] = ["ask", "What can be seen?", *options, *evidence]
    return found


def without_clock(value: Any) -> Any:
    """Return a JSON value without the fields that measure time."""
    if isinstance(value, dict):
        return {k: without_clock(v) for k, v in value.items() if k not in CLOCK_FIELDS}
    return [without_clock(item) for item in value] if isinstance(value, list) else value


def run(program: str, arguments: list[str], library: Path) -> dict[str, Any]:
    """Run the program with --json; return its exit code and the value of its last line."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [program, *arguments, "--json", *([] if "eval" in arguments else ["-l", str(library)])],
        capture_output=True, text=True, env=env, check=False,
    )  # fmt: skip
    lines = done.stdout.strip().splitlines()
    result = without_clock(json.loads(lines[-1])) if lines else done.stderr
    return {"exit_code": done.returncode, "result": result}


def stored_rows(library: Path) -> dict[str, str]:
    """Return `video/stage/item` -> digest of everything in that row."""
    connection = sqlite3.connect(f"file:{library / 'library.sqlite'}?mode=ro", uri=True)
    query = (
        "SELECT name, stage, item, fingerprint, digest, payload, vectors FROM artifacts "
        "JOIN videos USING (video_id) ORDER BY name, stage, item"
    )
    rows = {}
    for name, stage, item, *content in connection.execute(query):
        if stage not in CLOCK_STAGES:
            digest = hashlib.sha256(repr(content).encode()).hexdigest()
            rows[f"{name}/{stage}/{item}"] = digest
    connection.close()
    return rows


def record(program: str, media: Path, data: Path | None, library: Path) -> dict[str, Any]:
    """Build a library and return everything that is recorded."""
    (library.parent / "evidence.yaml").write_text(EVIDENCE_ONLY, "utf-8")
    found = {"build": run(program, ["build", str(media)], library)}
    found["build again"] = run(program, ["build", str(media)], library)
    for name, arguments in commands(library.parent).items():
        print(name, file=sys.stderr)
        found[name] = run(program, arguments, library)
    if data is not None:
        print("eval", file=sys.stderr)
        out = library.parent / "eval"
        words = [
            "eval",
            "all",
            "--data",
            str(data),
            "--allow-partial",
            "--quick",
            "--out",
            str(out),
        ]
        found["eval"] = run(program, words, library)
    return {"outputs": found, "rows": stored_rows(library)}


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Return one line for each output or row that is not equal."""
    lines = []
    for part in ("outputs", "rows"):
        for name in sorted({*before[part], *after[part]}):
            if before[part].get(name) != after[part].get(name):
                lines.append(f"{part}: {name} differs")
    return lines


def main(arguments: list[str] | None = None) -> int:
    """Run one of the two commands; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands_ = parser.add_subparsers(dest="command", required=True)
    recording = commands_.add_parser("record")
    recording.add_argument("out", type=Path)
    recording.add_argument("--media", type=Path, required=True)
    recording.add_argument("--data", type=Path)
    recording.add_argument("--fdvs", default="fdvs")
    recording.add_argument("--library", type=Path, help="keep the library here")
    comparing = commands_.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    args = parser.parse_args(arguments)
    if args.command == "record":
        with tempfile.TemporaryDirectory() as folder:
            library = args.library or Path(folder) / "library"
            found = record(args.fdvs, args.media, args.data, library)
        args.out.write_text(
            json.dumps(found, indent=1, sort_keys=True, ensure_ascii=False), "utf-8"
        )
        print(f"{len(found['outputs'])} outputs, {len(found['rows'])} rows", file=sys.stderr)
        return 0
    lines = differences(*(json.loads(p.read_text("utf-8")) for p in (args.before, args.after)))
    print("\n".join(lines) or "equal")
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())

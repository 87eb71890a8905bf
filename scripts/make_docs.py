"""Write docs/cli.md from the commands' own --help; `--check` only says whether it is current."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CLI_DOC = ROOT / "docs" / "cli.md"
HEAD = """# Command line

Written by `scripts/make_docs.py` from `--help`; do not edit by hand.

Exit codes: 0 all done; 1 some videos failed, nothing to build, or the library or a model failed
at work; 2 usage: unknown option, missing path, video, library or model, wrong setting; 70 a bug,
with a traceback; 130 interrupted, the same command goes on from there; 141 the reader of standard
output went away.

With `--json` the last line of standard output is one JSON object (`list`: one array), on errors
an object with `error` and `exit_code`. Progress and logs go to standard error.
"""


def command_paths() -> Iterator[list[str]]:
    """Yield every command as its words, in the order of the help; first the program itself."""
    import typer

    from fdvs.pipelines.cli import app

    def walk(command: object, words: list[str]) -> Iterator[list[str]]:
        yield words
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*words, name])

    yield from walk(typer.main.get_command(app), [])


def help_of(words: list[str]) -> str:
    """Return what `fdvs WORDS --help` prints in a terminal of 80 columns."""
    from fdvs.pipelines.cli import run

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = run([*words, "--help"])
    if code:
        raise SystemExit(f"fdvs {' '.join(words)} --help exits {code}")
    return "\n".join(line.rstrip() for line in printed.getvalue().strip().splitlines())


def cli_page() -> str:
    """Return the whole page."""
    os.environ["COLUMNS"] = "80"
    parts = [HEAD]
    for words in command_paths():
        parts.append(f"## {' '.join(['fdvs', *words])}\n\n```text\n{help_of(words)}\n```\n")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    arguments = parser.parse_args()
    page = cli_page()
    if not arguments.check:
        CLI_DOC.write_text(page, encoding="utf-8")
        return 0
    if CLI_DOC.is_file() and CLI_DOC.read_text("utf-8") == page:
        return 0
    print(f"{CLI_DOC.relative_to(ROOT)} is not what --help says; run: scripts/make_docs.py")
    return 1


if __name__ == "__main__":
    sys.exit(main())

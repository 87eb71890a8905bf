"""Write docs/cli.md from the commands' own --help and docs/settings.md from the settings.

`--check` writes nothing and only says whether they are current.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import io
import json
import os
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
CLI_DOC = ROOT / "docs" / "cli.md"
SETTINGS_DOC = ROOT / "docs" / "settings.md"
HEAD = """# Command line

Written by `scripts/make_docs.py` from `--help`; do not edit by hand.

Exit codes: 0 all done; 1 some videos failed, nothing to build, or the library or a model failed
at work; 2 usage: unknown option, missing path, video, library or model, wrong setting; 70 a bug,
with a traceback; 130 interrupted, the same command goes on from there; 141 the reader of standard
output went away.

With `--json` the last line of standard output is one JSON object (`list`, `models list` and
`eval --list`: one array), on errors
an object with `error` and `exit_code`. Progress and logs go to standard error.
"""


SETTINGS_HEAD = """# Settings

Written by `scripts/make_docs.py` from `fdvs/config.py`; do not edit by hand.

A preset is a full set of settings. A YAML file given with `--config` is laid over it; an unknown
key or a wrong value is an error. Defaults below are those of preset `offline`:

```yaml
cut: {method: scenes}
perceive: {sources: [subtitles, speech-tiny-en]}
visual: {policy: random, seed: 1}
models: {llm: "endpoint:http://127.0.0.1:8000/v1#my-model"}
```
"""


def command_paths() -> Iterator[list[str]]:
    """Yield every command as its words, in the order of the help; first the program itself."""
    import typer

    from fdvs.pipelines.cli.main import app

    def walk(command: object, words: list[str]) -> Iterator[list[str]]:
        yield words
        for name, child in getattr(command, "commands", {}).items():
            yield from walk(child, [*words, name])

    yield from walk(typer.main.get_command(app), [])


def help_of(words: list[str]) -> str:
    """Return what `fdvs WORDS --help` prints in a terminal of 80 columns."""
    from fdvs.pipelines.cli.main import run

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


def settings_page() -> str:
    """Return the page of every setting: section, what it does, default and allowed values."""
    from fdvs.config import Config

    config = Config()
    parts = [SETTINGS_HEAD]
    for field in dataclasses.fields(config):
        section = getattr(config, field.name)
        if dataclasses.is_dataclass(section):
            parts.append(section_of(field.name, section))
    return "\n".join(parts)


def section_of(name: str, section: object) -> str:
    """Return one section: the docstring of its dataclass and a table of its fields."""
    from fdvs.config import field_types

    about = inspect.cleandoc(type(section).__doc__ or "")
    lines = [f"## {name}", "", about, "", "| setting | default | allowed |", "|---|---|---|"]
    for key, hint in field_types(type(section)).items():
        default = json.dumps(getattr(section, key))
        lines.append(f"| `{key}` | `{default}` | {allowed(hint)} |")
    return "\n".join(lines) + "\n"


def allowed(hint: Any) -> str:
    """Return the values of a closed choice, else the name of the type."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"list of {typing.get_args(hint)[0].__name__}"
    return str(hint.__name__)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    arguments = parser.parse_args()
    stale = 0
    for path, page in ((CLI_DOC, cli_page()), (SETTINGS_DOC, settings_page())):
        if not arguments.check:
            path.write_text(page, encoding="utf-8")
        elif not path.is_file() or path.read_text("utf-8") != page:
            print(f"{path.relative_to(ROOT)} is not what the code says; run: scripts/make_docs.py")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main())

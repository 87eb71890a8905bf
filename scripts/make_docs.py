"""Write docs/cli.md from the help of every command, docs/settings.md from fdvs/config.py, and
docs/openapi.json from the REST API.

`--check` writes nothing; it exits with 1 if a page is out of date.
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
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HEAD = """# Command line

Written by `scripts/make_docs.py` from `--help`; do not edit by hand.

| exit code | meaning |
|---|---|
| 0 | everything is done |
| 1 | some videos failed, there was nothing to build, or the library or a model failed |
| 2 | usage: unknown option; missing path, video, library or model; wrong setting |
| 70 | a bug, with a traceback |
| 130 | interrupted; the same command resumes |
| 141 | standard output was closed |

With `--json` the last line of standard output is one JSON value: an object, or for `list`,
`models list` and `eval --list` an array. An error is an object with `error` and `exit_code`.
Progress and logs go to standard error.
"""


SETTINGS_HEAD = """# Settings

Written by `scripts/make_docs.py` from `fdvs/config.py`; do not edit by hand.

A preset is a full set of settings. A YAML file given with `--config` changes some of them; an
unknown key, a key given twice or a wrong value is an error. `preset: NAME` in the file says which
preset it starts from (`offline` without it); `--preset` on the command line goes before it, and a
warning says so where they differ. Without `--config`, the `fdvs.yaml` in the library's folder
holds, and for a build, where there is none and no `--preset`, the one in a given folder or beside a
given file, unless it names models (decision 034); `fdvs config` and `fdvs build` say which. A file
is plain YAML of at most 256 KiB. The tables give the
defaults of preset `offline`. Example:

```yaml
cut: {method: scenes}
perceive: {sources: [auto, -ocr], language: de}
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
    from fdvs.pipelines.presets import offline

    config = offline()
    parts = [SETTINGS_HEAD]
    for field in dataclasses.fields(config):
        section = getattr(config, field.name)
        if dataclasses.is_dataclass(section):
            parts.append(section_of(field.name, section))
    return "\n".join([*parts, retired_section()])


def api_page() -> str:
    """Return the description of the REST API (OpenAPI 3.1)."""
    from fdvs.pipelines.serve.app import bare_app

    return json.dumps(bare_app().openapi(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def retired_section() -> str:
    """Return the settings that are gone, and the value that the code now behaves as."""
    from fdvs.config import RETIRED

    about = (
        "A library that stores one of these still opens and ignores it. In a settings file it\n"
        "is an error, unless it asks for what happens anyway:"
    )
    rows = [f"| `{key}` | `{json.dumps(value)}` |" for key, value in RETIRED.items()]
    table = ["| setting | value |", "|---|---|", *rows]
    return "\n".join(["## Retired settings", "", about, "", *table]) + "\n"


def section_of(name: str, section: object) -> str:
    """Return one section: the docstring of its dataclass and a table of its fields."""
    from fdvs.config import field_types

    about = inspect.cleandoc(type(section).__doc__ or "")
    head = [f"## {name}", "", about, "", "| setting | default | allowed |", "|---|---|---|"]
    rows: list[str] = []
    nested: dict[type, tuple[str, object]] = {}
    for key, hint in field_types(type(section)).items():
        value = getattr(section, key)
        if dataclasses.is_dataclass(value):
            before = nested.get(type(value), ("", value))[0]
            nested[type(value)] = (f"{before}, {name}.{key}".removeprefix(", "), value)
            continue
        rows.append(f"| `{key}` | `{json.dumps(value)}` | {allowed(hint)} |")
    own = ["\n".join([*head, *rows]) + "\n"] if rows else []
    return "\n".join([*own, *(section_of(*one) for one in nested.values())])


def allowed(hint: Any) -> str:
    """Return the values of a closed choice, else the name of the type."""
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        return f"list of {typing.get_args(hint)[0].__name__}"
    if type(None) in typing.get_args(hint):
        (hint,) = (one for one in typing.get_args(hint) if one is not type(None))
    return str(hint.__name__)


def stale(pages: Mapping[Path, str]) -> list[Path]:
    """Return the files whose text is not the page."""
    return [p for p, page in pages.items() if not p.is_file() or p.read_text("utf-8") != page]


def write(pages: Mapping[Path, str]) -> None:
    for path, page in pages.items():
        path.write_text(page, encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if stale")
    check_only = parser.parse_args().check
    pages = {
        ROOT / "docs" / "cli.md": cli_page(),
        ROOT / "docs" / "settings.md": settings_page(),
        ROOT / "docs" / "openapi.json": api_page(),
    }
    old = stale(pages)
    if not check_only:
        write(pages)
        return 0
    for path in old:
        print(f"{path.relative_to(ROOT)} is out of date; run: python scripts/make_docs.py")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())

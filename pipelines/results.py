"""The one JSON form of every result: command line, batch files, servers and exports share it."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.text.timecode import citation

if TYPE_CHECKING:
    from fdvs.report import BuildReport
    from fdvs.types import Answer, JsonDict


def to_json(value: Any) -> str:
    """Return one line of JSON; dataclasses become objects, paths become strings."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, default=_plain)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"no JSON for a {type(value).__name__}")


def with_citation(found: Any) -> JsonDict:
    """Return a moment or hit as a JSON object with its citation added."""
    return asdict(found) | {"citation": citation(found.name, found.start_s, found.end_s)}


def answer_json(answer: Answer) -> JsonDict:
    """Return an answer as a JSON object, with citations as people read them."""

    def cited(found: JsonDict) -> JsonDict:
        return found | {"citation": citation(found["name"], found["start_s"], found["end_s"])}

    value = asdict(answer)
    value["evidence"] = [cited(moment) for moment in value["evidence"]]
    for sentence in (*value["sentences"], *value["removed"], *value["looks"]):
        sentence["citations"] = [cited(found) for found in sentence["citations"]]
    return value


def build_json(report: BuildReport, library: Path) -> JsonDict:
    """Return the report as one JSON object."""
    return {
        "library": str(library),
        "rows": list(report.rows),
        "num_failed": report.num_failed,
        "num_ignored": report.num_ignored,
        "saved": report.saved,
        "rules": report.rules,
        "backends": report.backends,
        "notes": list(report.notes),
        "seconds": round(report.seconds, 3),
        "exit_code": report.exit_code,
    }

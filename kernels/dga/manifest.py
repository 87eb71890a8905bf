"""A manifest from disk is data from outside: read with bounds, whatever is done with it then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MOST_MANIFEST_BYTES = 2**24


def read_manifest_file(path: Path) -> Any:
    """Return a manifest's JSON value. Raises ValueError: too large, too deep, or no JSON."""
    if path.stat().st_size > MOST_MANIFEST_BYTES:
        raise ValueError(f"{path} is over {MOST_MANIFEST_BYTES} bytes and no manifest of a cache")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path} is nested too deeply and no manifest of a cache") from None

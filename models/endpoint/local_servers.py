"""Model servers that run on this machine: asked on the loopback alone, shortly, when asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fdvs.models.endpoint.client import LOOPBACK
from fdvs.models.endpoint.dialects import DIALECTS, Dialect

TIMEOUT_S = 0.5
MAX_REPLY_BYTES = 2_000_000
# how names of models that see pictures look, where a server does not tell
_SEEING = (
    "vl",
    "vision",
    "llava",
    "smolvlm",
    "gemma3",
    "gemma-3",
    "gemma4",
    "minicpm-v",
    "moondream",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalServer:
    """A server that answers: its dialect, its models, and those of them that may see pictures."""

    dialect: str
    base_url: str
    models: tuple[str, ...]
    seeing: tuple[str, ...]

    @property
    def line(self) -> str:
        """What to type to use it, "" where none of its models sees."""
        return (
            f"fdvs build FOLDER --captioner {self.dialect}:{self.seeing[0]}" if self.seeing else ""
        )


def local_servers() -> list[LocalServer]:
    """Return the servers that answer at the usual addresses of this machine."""
    found = (_asked(one) for one in DIALECTS.values() if _is_local(one))
    return [server for server in found if server is not None]


def _is_local(one: Dialect) -> bool:
    return urlsplit(one.base_url).hostname in LOOPBACK


def _asked(one: Dialect) -> LocalServer | None:
    value = _get(f"{one.base_url}{'/api/tags' if one.is_native else '/models'}")
    rows = value.get("models" if one.is_native else "data") if isinstance(value, dict) else None
    if not isinstance(rows, list):
        return None
    names = tuple(
        str(row.get("name") or row.get("id")) for row in rows[:200] if isinstance(row, dict)
    )
    seeing = tuple(name for name, row in zip(names, rows, strict=False) if _sees(name, row))
    return LocalServer(dialect=one.name, base_url=one.base_url, models=names, seeing=seeing)


def _sees(name: str, row: Any) -> bool:
    told = json.dumps(row.get("capabilities") or row.get("details") or {}).lower()
    return "vision" in told or "clip" in told or any(part in name.lower() for part in _SEEING)


def _get(url: str) -> Any:
    """Return the JSON at an address, None where nothing answers in time."""
    import httpx

    try:
        with httpx.stream(
            "GET", url, timeout=TIMEOUT_S, follow_redirects=False, trust_env=False
        ) as response:
            if response.status_code != 200:
                return None
            data = b""
            for part in response.iter_raw():
                data += part
                if len(data) > MAX_REPLY_BYTES:
                    return None
            return json.loads(data)
    except (httpx.HTTPError, ValueError, RecursionError):
        return None

"""Registry of objects by name, as "module:object": imported on first use, not when listed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from fdvs.errors import UnknownName


class Registry:
    """A fixed table of names; an unknown name is an error with near matches."""

    def __init__(self, kind: str, entries: Mapping[str, str]) -> None:
        self.kind = kind
        self._entries = dict(entries)

    def names(self) -> list[str]:
        return sorted(self._entries)

    def get(self, name: str) -> Any:
        """Import and return the object. Raises UnknownName."""
        if name not in self._entries:
            raise UnknownName(self.kind, name, self._entries)
        module, _, attribute = self._entries[name].partition(":")
        return getattr(importlib.import_module(module), attribute)

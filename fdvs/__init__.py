"""FDVS: folders of long videos become searchable, citable, hierarchical stories.

    from fdvs import Library

    library = Library.open("my-library", preset="offline")
    library.build("videos/")
    library.search("a rabbit")

Importing this package loads nothing heavy; the names below are imported on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fdvs.config import Config
    from fdvs.errors import FdvsError
    from fdvs.models.llm.own_model import enable_dga, read_with_dga
    from fdvs.pipelines.library import Library
    from fdvs.text.timecode import citation
    from fdvs.types import Answer, Moment, Story, VideoHit, VideoRow

__version__ = "0.1.0"
__all__ = [
    "Answer",
    "Config",
    "FdvsError",
    "Library",
    "Moment",
    "Story",
    "VideoHit",
    "VideoRow",
    "citation",
    "enable_dga",
    "read_with_dga",
]

_HOMES = {
    "Answer": "fdvs.types",
    "Config": "fdvs.config",
    "FdvsError": "fdvs.errors",
    "Library": "fdvs.pipelines.library",
    "Moment": "fdvs.types",
    "Story": "fdvs.types",
    "VideoHit": "fdvs.types",
    "VideoRow": "fdvs.types",
    "citation": "fdvs.text.timecode",
    "enable_dga": "fdvs.models.llm.own_model",
    "read_with_dga": "fdvs.models.llm.own_model",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'fdvs' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)

"""Bounds that the doors of a library share: page, REST API and agents' tools."""

from __future__ import annotations

MAX_QUESTION_CHARS = 4000

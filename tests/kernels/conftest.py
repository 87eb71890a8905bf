"""Lets tests, and the processes that they start, import `attention_inputs` of this folder."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

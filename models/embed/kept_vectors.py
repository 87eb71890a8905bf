"""Vectors that do not depend on a library, kept between runs in the folder of fetched models.

A file is one line of JSON (shape and SHA-256) and the numbers as float32. It is data from outside:
what does not match its digest is computed again.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fdvs.files import read_regular, write_whole
from fdvs.fingerprint import digest
from fdvs.models.weights.manifests import cache_root
from fdvs.types import Vectors

FOLDER = "vectors"
MAX_BYTES = 1 << 28

logger = logging.getLogger(__name__)


def kept_vectors(key: str, make: Callable[[], Vectors]) -> Vectors:
    """Return the vectors [N, D] kept under `key`, a digest of all that they depend on; make and
    keep them where there are none or damaged ones."""
    path = cache_root() / FOLDER / f"{key}.f32"
    found = _read(path)
    if found is None:
        found = np.ascontiguousarray(make(), dtype=np.float32)
        _keep(path, found)
    return found


def _read(path: Path) -> Vectors | None:
    try:
        head, _, data = read_regular(path, max_bytes=MAX_BYTES).partition(b"\n")
        about = json.loads(head)
        num_rows, num_dims = about["shape"]
        if digest(data) != about["sha256"]:
            return None
        return np.frombuffer(data, dtype="<f4").reshape(num_rows, num_dims)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as error:
        logger.info("%s cannot be used (%s); computed again", path, error)
        return None


def _keep(path: Path, rows: Vectors) -> None:
    data = rows.astype("<f4").tobytes()
    head = {"shape": list(rows.shape), "sha256": digest(data)}
    try:
        write_whole(path, json.dumps(head).encode() + b"\n" + data)
    except OSError as error:
        logger.info("%s cannot be kept (%s); computed again the next time", path, error)

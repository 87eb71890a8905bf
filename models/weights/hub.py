"""Model repositories on the Hugging Face hub: a revision is resolved to a commit and recorded.

Only safetensors weights, configuration and tokenizer files are downloaded: no pickles, no code.
The files stay in the hub's own cache, which other programs share.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fdvs.errors import ModelUnavailable

WANTED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
UNWANTED = ("onnx/*", "openvino/*", "original/*", "*/onnx/*", "runs/*", "*.bin.index.json")
EXCERPT_CHARS = 300

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository at one commit (40 hex digits) in a local folder."""

    repository: str
    commit: str
    folder: Path


def is_repository_name(target: str) -> bool:
    """Whether a target has the form of a hub repository: `name` or `owner/name`."""
    return bool(_REPOSITORY.fullmatch(target)) and ".." not in target


def is_offline() -> bool:
    """Whether the hub is switched off by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(n, "").upper() in {"1", "ON", "YES", "TRUE"} for n in names)


def snapshot(repository: str, revision: str = "", *, files: Sequence[str] = ()) -> Snapshot:
    """Return a repository's files, downloaded unless the hub's cache has them.

    `revision` "" means the newest, resolved to a commit. Offline, only the cache is used.
    Raises ModelUnavailable where it cannot be downloaded or has no safetensors weights.
    """
    if not is_repository_name(repository):
        raise ModelUnavailable(f"{repository!r} is neither a folder here nor a hub repository")
    try:
        folder = _get(repository, revision, tuple(files) or WANTED)
    except Exception as error:  # the hub's client raises errors of its transport, of any kind
        reason = " ".join(str(error).split())[:EXCERPT_CHARS]
        hint = "HF_HUB_OFFLINE is set" if is_offline() else type(error).__name__
        raise ModelUnavailable(
            f"cannot get {repository} from the hub ({hint}): {reason}"
        ) from error
    if not any(folder.rglob("*.safetensors")):
        raise ModelUnavailable(
            f"{repository} has no safetensors weights (pickles are not loaded): convert it with "
            "transformers' save_pretrained and give that folder as BACKEND:FOLDER"
        )
    return Snapshot(repository=repository, commit=folder.name, folder=folder)


def _get(repository: str, revision: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    if is_offline():
        path = snapshot_download(repository, revision=revision or None, local_files_only=True)
        return Path(path)
    commit = HfApi().model_info(repository, revision=revision or None).sha
    path = snapshot_download(
        repository,
        revision=commit,
        allow_patterns=list(patterns),
        ignore_patterns=list(UNWANTED),
    )
    return Path(path)

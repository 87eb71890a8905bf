"""Model repositories on the Hugging Face hub: a revision is resolved to a commit and recorded.

Only safetensors weights, configuration and tokenizer files are downloaded: no pickles, no code.
The files stay in the hub's own cache, which other programs share. What is missing is looked up
first (`planned`), so that a disk that is too small is told before anything is downloaded. The
client resumes a file within one download; after that it keeps whole files only, so a download waits
for a network that is away (WAITS_S) and gets few files at a time.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from fdvs.errors import ModelUnavailable

SAFETENSORS = ".safetensors"
WANTED = (f"*{SAFETENSORS}", "*.json", "*.txt", "*.model", "*.jinja")
UNWANTED = ("onnx/*", "openvino/*", "original/*", "*/onnx/*", "runs/*", "*.bin.index.json")
EXCERPT_CHARS = 300
# Left free beside a download: a system without any space fails in other ways.
SPARE_BYTES = 500_000_000
# Before each further try where a download broke off, after the client's own tries of a few seconds.
WAITS_S = (5.0, 20.0, 60.0)
MAX_WORKERS = 2  # of a client that drops the files that are not whole

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
# Classes of huggingface_hub by name, as versions move them; the most special first.
_SAID = {
    "GatedRepoError": (
        "its makers ask for consent first: accept their terms at {page}, log in with `hf auth "
        "login` (or set HF_TOKEN), and run this again; or choose a model that is open"
    ),
    "DisabledRepoError": "the hub has closed it; choose another model",
    "RevisionNotFoundError": (
        "it has no revision {revision!r}; allowed: a branch, a tag or a commit of {page}"
    ),
    "RepositoryNotFoundError": (
        "the hub has no such repository, or it is private: check the name at {page}; for one of "
        "your own log in with `hf auth login` (or set HF_TOKEN)"
    ),
}
_BROKEN_OFF = (
    "ConnectError", "ConnectionError", "HfHubHTTPError", "HTTPError", "IncompleteSnapshotError",
    "NetworkError", "ReadError", "RemoteProtocolError", "TimeoutException", "TransportError",
)  # fmt: skip

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What of a repository is wanted at one commit: sizes by name, and how much is not here yet."""

    repository: str
    commit: str
    files: Mapping[str, int]
    num_bytes_to_get: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A repository at one commit (40 hex digits) in a local folder; `files` are those asked for."""

    repository: str
    commit: str
    folder: Path
    files: tuple[str, ...]


def is_repository_name(target: str) -> bool:
    """Whether a target has the form of a hub repository: `name` or `owner/name`."""
    return bool(_REPOSITORY.fullmatch(target)) and ".." not in target


def is_offline() -> bool:
    """Whether the hub is switched off by HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE."""
    names = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(n, "").upper() in {"1", "ON", "YES", "TRUE"} for n in names)


def planned(
    repository: str, revision: str = "", *, files: Sequence[str] = (), weights: str = SAFETENSORS
) -> Plan:
    """Return which files are wanted and which of them the hub's cache lacks. Downloads none.

    `revision` "" means the newest, resolved to a commit. `files` are patterns; without them all
    that WANTED names. `weights` is the ending of those that there must be. Raises ModelUnavailable
    as `snapshot` does.
    """
    from huggingface_hub import HfApi, snapshot_download

    _check_name(repository)
    try:
        commit = str(HfApi().model_info(repository, revision=revision or None).sha)
        found = snapshot_download(
            repository, revision=commit, dry_run=True, **_patterns(tuple(files))
        )
    except Exception as error:  # the hub's client raises errors of its transport, of any kind
        raise _unavailable(repository, revision, error) from error
    sizes = {one.filename: one.file_size or 0 for one in found}
    _check_weights(repository, sizes, weights)
    lacking = sum(sizes[one.filename] for one in found if one.will_download)
    return Plan(repository=repository, commit=commit, files=sizes, num_bytes_to_get=lacking)


def snapshot(
    repository: str,
    revision: str = "",
    *,
    files: Sequence[str] = (),
    weights: str = SAFETENSORS,
    told: Callable[[Plan], None] = lambda plan: None,
) -> Snapshot:
    """Return a repository's files, downloaded unless the hub's cache has them.

    `told` hears the plan before anything is downloaded. Offline, only the cache is used.

    Raises ModelUnavailable where it cannot be downloaded, does
    not fit on the disk, or has no safetensors weights.
    """
    _check_name(repository)
    if is_offline():
        return _cached(repository, revision, tuple(files) or WANTED, weights)
    plan = planned(repository, revision, files=files, weights=weights)
    check_space(plan)
    told(plan)
    return download(plan, files=files)


def download(plan: Plan, *, files: Sequence[str] = ()) -> Snapshot:
    """Return a plan's files, downloaded, in several tries where the network is away.

    Raises ModelUnavailable after the last.
    """
    for wait_s in (*WAITS_S, None):
        try:
            path = _download(plan, tuple(files))
        except ModelUnavailable as error:
            if wait_s is None or not _is_broken_off(error.__cause__):
                raise
            logger.warning("%s; trying again in %.0f s", error, wait_s)
            time.sleep(wait_s)
        else:
            break
    return Snapshot(
        repository=plan.repository, commit=plan.commit, folder=path, files=tuple(plan.files)
    )


def _download(plan: Plan, files: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(
                plan.repository, revision=plan.commit, max_workers=MAX_WORKERS, **_patterns(files)
            )
        )
    except Exception as error:  # as above
        raise _unavailable(plan.repository, plan.commit, error) from error


def check_space(plan: Plan) -> None:
    """Raise ModelUnavailable where the disk of the hub's cache has no space for a plan."""
    from huggingface_hub.constants import HF_HUB_CACHE

    folder = Path(HF_HUB_CACHE).expanduser().absolute()
    there = next(one for one in (folder, *folder.parents) if one.exists())
    num_free = shutil.disk_usage(there).free
    if plan.num_bytes_to_get + SPARE_BYTES > num_free:
        raise ModelUnavailable(
            f"{plan.repository}: {size_text(plan.num_bytes_to_get)} are missing and "
            f"{size_text(num_free)} are free on the disk of {folder}; make space, or set HF_HOME "
            "to a folder on another disk"
        )


def size_text(num_bytes: int) -> str:
    """Return a size as people read it.

    >>> size_text(2_034_000_000), size_text(91_000_000), size_text(1_200)
    ('2.0 GB', '91 MB', '1 MB')
    """
    if num_bytes >= 1_000_000_000:
        return f"{num_bytes / 1e9:.1f} GB"
    return f"{max(1, round(num_bytes / 1e6))} MB"


def _patterns(files: tuple[str, ...]) -> dict[str, Any]:
    return {"allow_patterns": list(files or WANTED), "ignore_patterns": list(UNWANTED)}


def _cached(repository: str, revision: str, patterns: tuple[str, ...], weights: str) -> Snapshot:
    from huggingface_hub import snapshot_download

    try:
        found = snapshot_download(repository, revision=revision or None, local_files_only=True)
    except Exception as error:  # as above
        raise _unavailable(repository, revision, error) from error
    folder = Path(found)
    names = [
        path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()
    ]
    wanted = tuple(
        name for name in names
        if any(fnmatch(name, one) for one in patterns)
        and not any(fnmatch(name, one) for one in UNWANTED)
    )  # fmt: skip
    _check_weights(repository, wanted, weights)
    return Snapshot(repository=repository, commit=folder.name, folder=folder, files=wanted)


def _check_name(repository: str) -> None:
    if not is_repository_name(repository):
        raise ModelUnavailable(f"{repository!r} is neither a folder here nor a hub repository")


def _check_weights(repository: str, names: Mapping[str, int] | Sequence[str], weights: str) -> None:
    if not any(name.endswith(weights) for name in names):
        raise ModelUnavailable(
            f"{repository} has no safetensors weights (pickles are not loaded): convert it with "
            "transformers' save_pretrained and give that folder as BACKEND:FOLDER"
        )


def _is_broken_off(error: BaseException | None) -> bool:
    """Whether the network, not the hub's answer, is the reason."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & set(_BROKEN_OFF)) and not kinds & set(_SAID)


def _unavailable(repository: str, revision: str, error: Exception) -> ModelUnavailable:
    """Return what a failure of the hub's client means, with what to do."""
    from huggingface_hub.constants import ENDPOINT

    kinds = [kind.__name__ for kind in type(error).__mro__]
    place = {"page": f"{ENDPOINT}/{repository}", "revision": revision}
    for name, text in _SAID.items():
        if name in kinds:
            return ModelUnavailable(f"cannot get {repository}: {text.format(**place)}")
    reason = " ".join(str(error).split())[:EXCERPT_CHARS]
    if is_offline():
        return ModelUnavailable(
            f"cannot get {repository} from the hub (HF_HUB_OFFLINE is set): {reason}"
        )
    said = f"cannot get {repository} from the hub ({type(error).__name__}): {reason}"
    if _is_broken_off(error):
        said += "; check the network, and run this again: the files that came whole are kept"
    return ModelUnavailable(said)

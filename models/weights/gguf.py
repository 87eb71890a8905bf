"""GGUF files for transformers: converted to safetensors once, then loaded like any folder.

Converting the small model's 4-bit weights takes 15 to 20 s; the result is kept in the model cache
under the file's hash.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from fdvs.errors import ModelError, ModelUnavailable
from fdvs.fingerprint import file_sha256
from fdvs.models.weights import manifests
from fdvs.models.weights.gguf_header import check_gguf
from fdvs.models.weights.loading import needs, reason_of, without_progress_bars

CONVERTED = "converted"

logger = logging.getLogger(__name__)


def find_gguf(place: Path) -> Path | None:
    """Return `place` if it is a GGUF file, or the only one in a folder; None where there is none.

    Raises ModelUnavailable where a folder holds several.
    """
    if place.is_file():
        return place if place.suffix == ".gguf" else None
    files = sorted(path for path in place.glob("*.gguf") if path.is_file())
    if len(files) > 1:
        names = ", ".join(file.name for file in files[:5])
        raise ModelUnavailable(f"{place} holds several GGUF files ({names}); name one of them")
    return files[0] if files else None


def as_folder(file: Path) -> Path:
    """Return a folder with the file's weights as float32 safetensors, its config and tokenizer.

    It is created on the first call for a file's hash, under a lock. Raises ModelError where the
    file cannot be read as a model, ModelUnavailable where a package or disk space is missing.
    """
    from filelock import FileLock

    needs("gguf", "local")
    root = manifests.cache_root() / CONVERTED
    try:
        root.mkdir(parents=True, exist_ok=True)
        check_gguf(file)
        sha256 = file_sha256(file)
        home = root / sha256[:32]
        with FileLock(root / f".{home.name}.lock"):
            if not _is_complete(home):
                _convert(file, sha256, home)
    except OSError as error:
        raise ModelUnavailable(
            f"cannot unpack {file.name} below {root} ({error.strerror or error}); "
            "free some disk space, or set FDVS_CACHE"
        ) from None
    return home


def _is_complete(home: Path) -> bool:
    manifest = manifests.parse_manifest(manifests.read_json(home / manifests.MANIFEST))
    return manifest is not None and manifests.is_unchanged(manifest)


def _convert(file: Path, sha256: str, home: Path) -> None:
    start_s = time.monotonic()
    logger.info("%s: unpacking once, this takes a while", file.name)
    scratch = Path(tempfile.mkdtemp(prefix=".converting-", dir=home.parent))
    try:
        save_unpacked(file, scratch)
        source = {"kind": "gguf", "sha256": sha256}
        manifest = manifests.Manifest(
            name=file.name, source=source, folder=str(home), files=manifests.record_files(scratch)
        )
        manifests.write_manifest(scratch, manifest)
        shutil.rmtree(home, ignore_errors=True)
        scratch.rename(home)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    logger.info("%s: unpacked in %.1f s", file.name, time.monotonic() - start_s)


def save_unpacked(file: Path, folder: Path) -> None:
    """Write a GGUF file's weights, config and tokenizer into a folder. Raises ModelError."""
    for package in ("gguf", "accelerate"):
        needs(package, "local")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    options = {"gguf_file": file.name, "local_files_only": True}
    try:
        # in a folder of its own: what lies beside the file (an adapter) is no part of the model
        with without_progress_bars(), tempfile.TemporaryDirectory() as alone:
            (Path(alone) / file.name).symlink_to(file.resolve())
            tokenizer = AutoTokenizer.from_pretrained(alone, **options)
            model = AutoModelForCausalLM.from_pretrained(alone, dtype=torch.float32, **options)
            plain = _plain(model)
    except Exception as error:  # whatever comes up in a package for a file it does not expect
        raise ModelError(
            f"{file} cannot be read as a language model: {reason_of(error)}; copy or download it "
            "again"
        ) from None
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _plain(model: Any) -> Any:
    """Return the same weights in a model that transformers does not treat as quantised.

    The tensors are dequantised already, but a model loaded from GGUF refuses to be saved.
    """
    import torch
    from transformers import AutoModelForCausalLM

    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    with torch.device("meta"):
        plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.generation_config = model.generation_config
    return plain

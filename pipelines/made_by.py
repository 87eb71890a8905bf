"""What a library says about the settings and models that made it, kept in its `meta` table."""

from __future__ import annotations

import logging

from fdvs.config import Config
from fdvs.configfile import config_from_json, config_to_json
from fdvs.errors import StoreError
from fdvs.pipelines.model_set import ModelSet
from fdvs.protocols import PictureMatcher, TextEmbedder
from fdvs.store.meta import get_meta, set_meta
from fdvs.store.store import Store
from fdvs.types import JsonDict, ModelIdentity

SETTINGS = "settings"
TEXT_EMBEDDER = "text_embedder"
PICTURES = "pictures"

logger = logging.getLogger(__name__)


def stored_config(store: Store) -> Config | None:
    """Return the settings that a library was last built with, None before its first build."""
    values = get_meta(store, SETTINGS)
    return None if values is None else config_from_json(values)


def note_models(store: Store, wanted: Config, models: ModelSet) -> None:
    """Write down the settings and models of a build."""
    set_meta(store, SETTINGS, config_to_json(wanted))
    set_meta(store, TEXT_EMBEDDER, _as_json(models.identity(TEXT_EMBEDDER)))
    set_meta(store, PICTURES, _of_pictures(models))


def fitting_embedder(store: Store, models: ModelSet) -> TextEmbedder:
    """Return the text embedder. Raises StoreError unless it made the stored vectors, too."""
    built = get_meta(store, TEXT_EMBEDDER)
    now = _as_json(models.identity(TEXT_EMBEDDER))
    if built is not None and built != now:
        raise StoreError(
            f"the library's vectors were made by {built['name']}, the settings name "
            f"{now['name']}; use the same text embedder, or build again with these settings"
        )
    return models.text_embedder


def fitting_matcher(store: Store, models: ModelSet) -> PictureMatcher | None:
    """Return what places queries among pictures, None where the settings have none or other models
    made the stored vectors."""
    if not models.has_matcher():
        return None
    if get_meta(store, PICTURES) != _of_pictures(models):
        logger.info("no visual search: other models made its vectors; build again to use it")
        return None
    return models.matcher


def _of_pictures(models: ModelSet) -> JsonDict:
    return {role: models.fingerprint(role) for role in ("image_embedder", TEXT_EMBEDDER)}


def _as_json(identity: ModelIdentity) -> dict[str, str]:
    return {
        "name": identity.name,
        "backend": identity.backend,
        "weights_sha256": identity.weights_sha256,
    }

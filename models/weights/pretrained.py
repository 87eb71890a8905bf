"""Load a part of a transformers checkpoint from a local folder: safetensors only, no foreign code.

The folder was fetched before; nothing here asks a network, and nothing draws a progress bar.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fdvs.errors import ModelUnavailable
from fdvs.models.cards import Card
from fdvs.models.weights.fetch import model_folder
from fdvs.models.weights.loading import without_progress_bars

EXCERPT_CHARS = 300


def load_part(kind: Any, card: Card, **settings: Any) -> Any:
    """Return `kind.from_pretrained` of a card's folder; `kind` is an Auto class of transformers.

    Raises ModelUnavailable where the folder is missing, or does not hold what `kind` loads.
    """
    folder = model_folder(card)
    return _load(kind, folder, card, settings)


def load_weights(kind: Any, card: Card, *, device: str, dtype: Any) -> Any:
    """Return a model in evaluation mode on its device. Raises ModelUnavailable."""
    model = load_part(kind, card, dtype=dtype, use_safetensors=True)
    return model.to(device).eval()


def _load(kind: Any, folder: Path, card: Card, settings: dict[str, Any]) -> Any:
    from safetensors import SafetensorError

    try:
        with without_progress_bars():
            return kind.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False, **settings
            )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
        reason = " ".join(str(error).split())[:EXCERPT_CHARS]
        raise ModelUnavailable(
            f"model {card.name!r}: {folder} cannot be loaded by {kind.__name__} ({reason}); "
            f"run `fdvs models fetch {card.name}`, or use --preset offline"
        ) from None

"""`fdvs.yaml`: the settings file that is found where nobody named one.

The one in the library's folder is its owner's. One that lies beside videos may have come with them:
it may change how they are read, but not which models do it, so that a stranger's folder cannot send
pictures to a server.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fdvs.errors import ConfigError

NAME = "fdvs.yaml"
SHORT_NAMES = {"auto", "speech", "ocr", "subtitles"}


def in_library(library: Path) -> Path | None:
    """Return the settings file of a library's folder, None if there is none."""
    path = library / NAME
    return path if path.is_file() else None


def beside_videos(given: Sequence[str]) -> Path | None:
    """Return the settings file in one of the given folders, or beside one of the given files.

    Raises ConfigError where there are several, or where it names models.
    """
    folders = [path if path.is_dir() else path.parent for path in map(Path, given)]
    found = {folder.resolve() / NAME for folder in folders if (folder / NAME).is_file()}
    if not found:
        return None
    if len(found) > 1:
        names = ", ".join(map(str, sorted(found)))
        raise ConfigError(f"several settings files: {names}; name the one to use: --config FILE")
    (path,) = found
    if named := _models_of(path):
        raise ConfigError(
            f"{path} lies beside the videos and names models ({', '.join(named)}); if you trust "
            f"it, give it: --config {path}"
        )
    return path


def _models_of(path: Path) -> list[str]:
    """Return the models that a file names and its base, preset offline, does not use."""
    from fdvs.pipelines.model_set import model_specs
    from fdvs.pipelines.presets import preset, settings

    known = {spec for _, spec in model_specs(preset("offline")).values()} | SHORT_NAMES
    specs = model_specs(settings(None, path)).items()
    return [f"{name}: {spec}" for name, (_, spec) in specs if spec.lstrip("-") not in known]

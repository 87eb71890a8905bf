"""The JSON of what is on this machine: models, packages, presets, health; see `results`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from typing_extensions import TypedDict  # the form that pydantic reads before Python 3.12


class ModelJson(TypedDict):
    """A model that FDVS knows; `here`: its weights are on this machine, `used`: by the settings."""

    name: str
    role: str
    backend: str
    presets: Sequence[str]
    licence: str
    tested: str
    stand_in: bool
    here: bool
    used: bool
    about: str


class FetchedModelJson(TypedDict):
    """A model after `fdvs models fetch`; `revision` is a wheel's version or a hub commit."""

    name: str
    status: Literal["fetched", "present", "nothing to fetch"]
    folder: str | None
    revision: str
    num_bytes: int
    seconds: float


class PackageJson(TypedDict):
    """A package that FDVS can use; `extra` is "" for what is always installed."""

    name: str
    version: str | None
    extra: str


class BackendJson(TypedDict):
    """One way to do something, whether it can run here, and why or why not."""

    kind: str
    name: str
    runs: bool
    reason: str


class PresetJson(TypedDict):
    """Settings and whether they can run here; `problems` say why not.

    `untested` are the models whose real weights the project never ran, `stand_ins` those that
    replace a real vision model.
    """

    name: str
    about: str
    runs: bool
    problems: Sequence[str]
    untested: Sequence[str]
    stand_ins: Sequence[str]


class ServerJson(TypedDict):
    """A model server on this machine; `line` is what to type to let it describe pictures."""

    dialect: str
    base_url: str
    models: Sequence[str]
    seeing: Sequence[str]
    line: str


class HealthJson(TypedDict):
    """What `fdvs doctor` shows: this machine, packages, backends, presets, and the library."""

    version: str
    python: str
    system: str
    devices: Sequence[str]
    ffmpeg: str
    cache: str
    library: str
    packages: Sequence[PackageJson]
    backends: Sequence[BackendJson]
    servers: Sequence[ServerJson]
    presets: Sequence[PresetJson]


class DoctorJson(TypedDict):
    """`settings` is the state of the settings that were asked about, if any."""

    health: HealthJson
    settings: PresetJson | None


class TriedJson(TypedDict):
    """What a captioner said of one made picture; `line` is what to type to build with it."""

    model: str
    picture: str
    text: str
    seconds: float
    line: str


class RepairedJson(TypedDict):
    """What a repair of a library kept; `old_file` is the damaged one, which stays."""

    old_file: str
    num_videos: int
    num_files: int
    num_rows: int
    num_rows_dropped: int

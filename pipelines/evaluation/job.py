"""What an evaluation works with: its inputs, the job of one row, and the words about the videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from fdvs.config import Config
from fdvs.datasets.examples import Caption
from fdvs.errors import ConfigError, InvalidValue
from fdvs.pipelines.evaluation.benchmarks import Row
from fdvs.pipelines.model_set import ModelSet


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """The inputs of an evaluation, whichever rows it runs.

    Attributes:
        data: the dataset's own folder, or the parent that holds one folder a dataset.
        out: folder for predictions, results and, with videos, a library.
        videos: folder with the dataset's videos; the whole pipeline runs on them.
        captions: file with texts about the videos, instead of videos.
        captions_of: name of another captioner of the dataset's card, whose published texts are
            used instead of the usual ones.
        models: models by role that replace those of the config (see `ModelSet`).
        limit: how many questions or queries at most, in the order of the files.
        allow_partial: accept files with fewer records than the official ones.
        llm: card, folder or GGUF file of a language model; None for the row's default.
        judge: endpoint `http://HOST:PORT/v1#MODEL` of a model that judges open answers.
        quick: run a small fixed part, to check that everything works; its scores mean nothing.
    """

    data: Path | None
    out: Path
    config: Config
    models: Mapping[str, Any] | None = None
    videos: Path | None = None
    captions: Path | None = None
    captions_of: str | None = None
    limit: int | None = None
    allow_partial: bool = False
    llm: str | None = None
    judge: str | None = None
    quick: bool = False

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise InvalidValue("--limit", self.limit, "1 or more")
        if self.videos and self.captions:
            raise ConfigError(
                f"--videos {self.videos} and --captions {self.captions} both give the words "
                "about the videos; choose one of them"
            )
        if self.captions_of and (self.videos or self.captions):
            raise ConfigError(
                f"--captions-of {self.captions_of} names the words about the videos; leave "
                "--videos and --captions out"
            )


@dataclass(frozen=True, kw_only=True)
class Job(Inputs):
    """One row to be evaluated; `out` is the row's own folder."""

    row: Row

    @cached_property
    def model_set(self) -> ModelSet:
        """The models of the job, loaded on first use."""
        return ModelSet(self.config, models=self.models)


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Words about the videos by video id, in time order, and where they come from (`source`).

    `missing` are the ids of the split's videos without any.
    """

    source: str
    captions: Mapping[str, tuple[Caption, ...]]
    backends: Mapping[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

"""What all stages of one build share: settings, models, and the models' fingerprints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fdvs.config import Config
from fdvs.pipelines.model_set import ModelSet
from fdvs.prompting.orders_by_meaning import OrdersByMeaning
from fdvs.report import Watcher, ignore_event
from fdvs.types import ModelIdentity


@dataclass(slots=True)
class BuildContext:
    """Read-only during a build but for what is loaded late, so that every thread may use it.

    `observer_names` are in the order of the settings, the captioner first: those in `track_names`
    read whole files, those in `describer_names` look at clips. `observer_fingerprints` are by name.
    The fingerprint of a writer that is not used is "". The pictures of the clips in `skipped`, by
    index, are not decoded: those of one of them end the process.
    """

    folder: Path
    config: Config
    models: ModelSet
    watch: Watcher = ignore_event
    observer_names: tuple[str, ...] = field(init=False)
    describer_names: tuple[str, ...] = field(init=False)
    track_names: tuple[str, ...] = field(init=False)
    observer_fingerprints: dict[str, str] = field(init=False)
    image_identity: ModelIdentity = field(init=False)
    image_fingerprint: str = field(init=False)
    text_fingerprint: str = field(init=False)
    chapter_writer_fingerprint: str = ""
    story_writer_fingerprint: str = ""
    skipped: frozenset[int] = frozenset()
    _orders: OrdersByMeaning | None = None

    def __post_init__(self) -> None:
        models, config = self.models, self.config
        self.observer_names = models.observer_names()
        self.describer_names = models.describer_names()
        self.track_names = tuple(n for n in self.observer_names if n not in self.describer_names)
        self.observer_fingerprints = {
            name: models.fingerprint(name) for name in self.observer_names
        }
        self.image_identity = models.identity("image_embedder")
        self.image_fingerprint = models.fingerprint("image_embedder")
        self.text_fingerprint = models.fingerprint("text_embedder")
        if config.chapter.writer == "llm":
            self.chapter_writer_fingerprint = models.fingerprint("llm")
        if config.story.writer == "abstractive":
            self.story_writer_fingerprint = models.fingerprint("llm")

    @property
    def orders(self) -> OrdersByMeaning:
        """What finds by meaning the texts that read like orders; loads the text embedder. For the
        thread that describes."""
        if self._orders is None:
            self._orders = OrdersByMeaning(self.models.text_embedder)
        return self._orders

    @property
    def model_fingerprints(self) -> list[str]:
        """Every model that a stored result can depend on, in a fixed order."""
        writers = [self.chapter_writer_fingerprint, self.story_writer_fingerprint]
        observers = self.observer_fingerprints.values()
        return [self.image_fingerprint, *observers, self.text_fingerprint, *writers]

"""What all stages of one build share: settings, models, and the models' fingerprints."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fdvs.config import Config
from fdvs.fingerprint import digest
from fdvs.pipelines.model_set import ModelSet
from fdvs.types import ModelIdentity


@dataclass(slots=True)
class BuildContext:
    """Read-only during a build, so that every thread may use it.

    `describer_names` are in the order in which they are asked, the captioner first;
    `describer_fingerprints` are by name. The fingerprint of a writer that is not used is "".
    """

    folder: Path
    config: Config
    models: ModelSet
    describer_names: tuple[str, ...] = field(init=False)
    describer_fingerprints: dict[str, str] = field(init=False)
    image_identity: ModelIdentity = field(init=False)
    image_fingerprint: str = field(init=False)
    text_fingerprint: str = field(init=False)
    chapter_writer_fingerprint: str = ""
    story_writer_fingerprint: str = ""

    def __post_init__(self) -> None:
        models, config = self.models, self.config
        self.describer_names = models.describer_names()
        self.describer_fingerprints = {
            name: models.fingerprint(name) for name in self.describer_names
        }
        self.image_identity = models.identity("image_embedder")
        self.image_fingerprint = models.fingerprint("image_embedder")
        self.text_fingerprint = models.fingerprint("text_embedder")
        if config.chapter.writer == "llm":
            self.chapter_writer_fingerprint = models.fingerprint("llm")
        if config.story.writer == "abstractive":
            self.story_writer_fingerprint = models.fingerprint("llm")

    @property
    def model_fingerprints(self) -> list[str]:
        """Every model that a stored result can depend on, in a fixed order."""
        writers = [self.chapter_writer_fingerprint, self.story_writer_fingerprint]
        describers = self.describer_fingerprints.values()
        return [self.image_fingerprint, *describers, self.text_fingerprint, *writers]

    def sidecar_digest(self, path: Path) -> str:
        """Return a digest of what describers read beside the video (subtitle files), or ''."""
        found = {name: self.models.content_beside(name, path) for name in self.describer_names}
        found = {name: content for name, content in found.items() if content}
        return digest(found) if found else ""

"""What all stages of one build share: settings, identities, and the two decisions per clip."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from fdvs.config import Config
from fdvs.fingerprint import digest
from fdvs.pipelines.build import fingerprints as keys
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.build.items import ClipTask
from fdvs.types import ModelIdentity
from fdvs.redundancy.frames import keep_frames


@dataclass(slots=True)
class BuildContext:
    """Read-only during a build, so that every thread may use it.

    `describers`, `*_key` and `*_writer` are model fingerprints; a writer that is not used is "".
    """

    folder: Path
    config: Config
    models: ModelSet
    describer_keys: tuple[str, ...] = ()
    describers: dict[str, str] = field(default_factory=dict)
    image_identity: ModelIdentity = field(init=False)
    image_key: str = field(init=False)
    text_key: str = field(init=False)
    chapter_writer: str = ""
    story_writer: str = ""

    def __post_init__(self) -> None:
        models, config = self.models, self.config
        self.describer_keys = models.describer_names()
        self.describers = {key: models.fingerprint(key) for key in self.describer_keys}
        self.image_identity = models.identity("image_embedder")
        self.image_key = models.fingerprint("image_embedder")
        self.text_key = models.fingerprint("text_embedder")
        if config.chapter.writer == "llm":
            self.chapter_writer = models.fingerprint("llm")
        if config.story.writer == "abstractive":
            self.story_writer = models.fingerprint("llm")

    @property
    def model_keys(self) -> list[str]:
        """Every model that a stored result can depend on, in a fixed order."""
        writers = [self.chapter_writer, self.story_writer]
        return [self.image_key, *self.describers.values(), self.text_key, *writers]

    def content_beside(self, path: Path) -> str:
        """Return a digest of what sources read besides the video (subtitle files), or ''."""
        found = {key: self.models.content_beside(key, path) for key in self.describer_keys}
        found = {key: value for key, value in found.items() if value}
        return digest(found) if found else ""

    def needs_frames(self, key: str) -> bool:
        return self.models.needs_frames(key)

    def keep_frames(self, task: ClipTask) -> None:
        """Apply the visual rule to the task's vectors (a pure function of them)."""
        assert task.vectors is not None
        task.kept = keep_frames(
            task.vectors, self.config.visual, salt=f"{task.job.video_id}/{task.clip.index}"
        )

    def see_key(self, task: ClipTask, key: str) -> str:
        with_frames = self.needs_frames(key)
        return keys.see_key(
            task.job.sha256,
            task.clip,
            self.config,
            self.describers[key],
            task.kept_times_s if with_frames else (),
            task.motion if with_frames else 0.0,
            "" if with_frames else task.job.extra,
        )

    def find_stale(self, task: ClipTask) -> None:
        """Set `stale` to the describers whose stored words are not of these pictures."""
        task.stale = tuple(
            key for key in self.describer_keys if task.old_keys.get(key) != self.see_key(task, key)
        )
        for key in task.stale:
            task.seen.pop(key, None)

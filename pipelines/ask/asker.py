"""The service behind `Library.ask`: it gives a question its language model, chooser and cache.

One per open library: models stay loaded, and the story of a video stays prefilled.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fdvs.answers.answer import answer
from fdvs.answers.choice.background import Background, library_background
from fdvs.answers.choice.chooser import Chooser
from fdvs.answers.fit import Answerability
from fdvs.answers.question import Question
from fdvs.answers.reply import OnText
from fdvs.answers.second_look import second_look
from fdvs.config import Config
from fdvs.errors import ModelError, ModelUnavailable
from fdvs.media.readers import open_reader
from fdvs.media.sampling import sample_times, unique_frames
from fdvs.pipelines.finder import with_paths
from fdvs.pipelines.model_set import ModelSet
from fdvs.protocols import LanguageModel, PrefillLanguageModel, TextEmbedder
from fdvs.search.index import Index
from fdvs.stopping import acquired
from fdvs.store.store import Store
from fdvs.types import Answer, Citation, Clip, ClipView

READINGS_FOLDER = "readings"
BYTES_PER_MIB = 2**20


class Asker:
    """Answers questions on one library. `folder` is where prefilled stories are kept on disk."""

    def __init__(self, config: Config, models: ModelSet, folder: Path) -> None:
        self._config = config
        self._models = models
        self._folder = folder
        self._language_model: LanguageModel | None = None
        self._answerability: Answerability | None = None
        self._background: tuple[Index, Background] | None = None
        self._lock = threading.RLock()  # models and their caches answer one question at a time

    def answer(
        self,
        question: Question,
        *,
        index: Callable[[], Index],
        embedder: Callable[[], TextEmbedder],
        store_of: Callable[[str], Store],
        second_look: bool | None = None,
        **how: Any,
    ) -> Answer:
        """Answer a question, see `ask`, with the paths of its evidence and a second look.

        Args:
            index, embedder: return those of `ask`.
            store_of: returns the store of a video.
            second_look: whether the captioner looks again; None as `ask.second_look` says.
        """
        found = self.ask(question, index=index(), embedder=embedder(), **how)
        found = replace(found, evidence=tuple(with_paths(found.evidence, store_of)))
        if not (self._config.ask.second_look if second_look is None else second_look):
            return found
        return self.look_again(found, lambda one: store_of(one).find_video(one).path)

    def ask(
        self,
        question: Question,
        *,
        index: Index,
        embedder: TextEmbedder,
        writer: Any = "preset",
        chooser: Chooser | None = None,
        video_id: str | None = None,
        on_text: OnText | None = None,
    ) -> Answer:
        """Answer a question, see `fdvs.answers.answer.answer`.

        Args:
            embedder: the one that made the index's vectors; the same for all questions.
            writer: "preset" for the settings' language model, None for quotes, or an own model.
            chooser: an own one for options; else the one that `ask.answerer` names.

        Raises InvalidValue where options need a model that can prefill and this one cannot.
        """
        if self._answerability is None:
            self._answerability = Answerability(embedder)
        lacking = ""
        if writer == "preset":
            writer, lacking = (None, "") if question.options else self._writer()

        def make_chooser(embedder: TextEmbedder) -> Chooser:
            return chooser or self._chooser(index, embedder)

        quotes = writer is None and not question.options
        with contextlib.nullcontext() if quotes else acquired(self._lock):
            found = answer(
                question,
                index=index,
                embedder=embedder,
                config=self._config.ask,
                search=self._config.search,
                writer=writer,
                make_chooser=make_chooser,
                video_id=video_id,
                answerability=self._answerability,
                on_text=on_text,
            )
        return replace(found, notes=(*found.notes, lacking)) if lacking else found

    def _writer(self) -> tuple[LanguageModel | None, str]:
        """Return the language model and a note; with `combined` quotes stand in for a missing one.

        Raises ModelUnavailable where `ask.answerer` is "llm".
        """
        try:
            return self.language_model(), ""
        except ModelUnavailable as error:
            if self._config.ask.answerer != "combined":
                raise
            return None, f"the evidence is quoted, there is no language model: {error}"

    def language_model(self) -> LanguageModel | None:
        """Return the settings' language model, reading through the cache; None without one."""
        config = self._config.ask
        if config.answerer == "evidence":
            return None
        if self._language_model is None:
            self._language_model = self._models.llm
            if config.cache_mib:
                from fdvs.models.llm.reading_cache import ReadingCache

                cache = ReadingCache(
                    self._folder / READINGS_FOLDER, max_bytes=config.cache_mib * BYTES_PER_MIB
                )
                self._language_model = cache.wrap(self._language_model)
        return self._language_model

    def background(self, index: Index) -> Background:
        """Return the statistics of the library's videos; read again once it has changed."""
        if self._background is None or self._background[0] is not index:
            self._background = index, library_background(index)
        return self._background[1]

    def look_again(self, found: Answer, path_of: Callable[[str], Path]) -> Answer:
        """Add a captioner's second look at the cited clips; `path_of` finds a video's file.

        What goes wrong becomes a note: the answer stays.
        """
        citations = [c for s in found.sentences for c in s.citations]
        try:
            captioner = self._models.describer("captioner")
        except ModelError as error:
            return replace(found, notes=(*found.notes, f"no second look: {error}"))
        replies, notes = second_look(
            found.question,
            citations,
            lambda cited: self._view(cited, path_of(cited.video_id)),
            captioner,
        )
        return replace(found, second_look=replies, notes=(*found.notes, *notes))

    def _view(self, cited: Citation, path: Path) -> ClipView:
        config = self._config
        clip = Clip(video_id=cited.video_id, index=0, start_s=cited.start_s, end_s=cited.end_s)
        times = sample_times(clip, config.sample.num_frames_per_clip)
        with open_reader(
            path, reader=config.read.reader, timeout_s=config.read.timeout_s
        ) as reader:
            frames = list(reader.frames_at(times, short_side_px=config.sample.short_side_px))
        return ClipView(video_path=path, clip=clip, frames=tuple(unique_frames(frames)))

    def _chooser(self, index: Index, embedder: TextEmbedder) -> Chooser:
        from fdvs.answers.choice.combined import make_chooser

        answerer, model = self._config.ask.answerer, self.language_model()
        return make_chooser(
            answerer,
            embedder,
            model if isinstance(model, PrefillLanguageModel) else None,
            # a language model alone knows no other videos
            background=None if answerer == "llm" else self.background(index),
        )

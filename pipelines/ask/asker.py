"""Everything that `Library.ask` needs, put together: evidence, language model, cache, chooser.

One per open library: models stay loaded, and what was read of a story stays read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from fdvs.answers.answer import answer
from fdvs.answers.choice.answer import MAX_CHAPTERS, chosen_answer
from fdvs.answers.choice.background import Background, library_background
from fdvs.answers.choice.chooser import Chooser
from fdvs.answers.fit import FitJudge
from fdvs.answers.from_index import kept_chapters, nearest_chapters
from fdvs.answers.history import Turn
from fdvs.answers.second_look import second_look
from fdvs.config import AskConfig, Config
from fdvs.errors import ModelError, NotFound
from fdvs.media.readers import open_reader
from fdvs.media.sampling import sample_times, unique_frames
from fdvs.pipelines.model_set import ModelSet
from fdvs.protocols import LanguageModel, PrefillLanguageModel, TextEmbedder
from fdvs.search.index import Index
from fdvs.text.clean import clean_query
from fdvs.types import Answer, Citation, Clip, ClipView

READINGS_FOLDER = "readings"
BYTES_PER_MIB = 2**20
Order = Literal["story-first", "question-first"]


class Asker:
    """Answers questions on one library. `folder` is where readings are kept on disk."""

    def __init__(self, config: Config, models: ModelSet, folder: Path) -> None:
        self._config = config
        self._models = models
        self._folder = folder
        self._reader: LanguageModel | None = None
        self._judge: FitJudge | None = None
        self._known: tuple[Index, Background] | None = None

    def open_question(
        self,
        question: str,
        *,
        index: Index,
        embedder: TextEmbedder,
        writer: Any,
        video_id: str | None,
        history: Sequence[Turn],
        on_text: Callable[[str], None] | None,
        order: Order | None,
    ) -> Answer:
        """Answer in words; see `fdvs.answers.answer.answer`."""
        config = self._ask_config(order)
        return answer(
            question,
            index=index,
            embedder=embedder,
            writer=self.writer(config) if writer == "preset" else writer,
            config=config,
            search=self._config.search,
            video_id=video_id,
            history=history,
            on_text=on_text,
            judge=self._fit_judge(embedder),
        )

    def choice(
        self,
        question: str,
        options: Sequence[str],
        *,
        index: Index,
        embedder: TextEmbedder,
        chooser: Chooser | None,
        video_id: str | None,
        order: Order | None,
    ) -> Answer:
        """Choose an option from all kept chapters in question, the nearest of a large library."""
        started = time.monotonic()
        question = clean_query(question)
        config = self._ask_config(order)
        entries = kept_chapters(index, None if video_id is None else [video_id])
        if not entries:
            raise NotFound(
                f"no chapter to answer {question[:60]!r} from; build a video first: fdvs build PATH"
            )
        if len(entries) > MAX_CHAPTERS:
            query = " ".join([question, *options])
            entries = nearest_chapters(index, entries, query, embedder, num=MAX_CHAPTERS)
        # an own chooser and a language model alone know no other videos
        weighs = chooser is None and config.answerer != "llm"
        background = self._background(index) if weighs else Background()
        found = chosen_answer(
            question,
            options,
            index=index,
            entries=entries,
            embedder=embedder,
            chooser=chooser or self.chooser(config, embedder, background),
            judge=self._fit_judge(embedder),
            config=config,
        )
        num = background.num_beside({entry.video_id for entry in entries})
        return replace(found, num_background=num, seconds=round(time.monotonic() - started, 3))

    def writer(self, config: AskConfig) -> LanguageModel | None:
        """Return the language model of the settings, reading through the cache; None without."""
        if config.answerer == "evidence":
            return None
        if self._reader is None:
            self._reader = self._models.llm
            if config.cache_mib and config.order == "story-first":
                from fdvs.models.llm.reading_cache import ReadingCache

                cache = ReadingCache(
                    self._folder / READINGS_FOLDER, max_bytes=config.cache_mib * BYTES_PER_MIB
                )
                self._reader = cache.wrap(self._reader)
        return self._reader

    def look_again(self, found: Answer, path_of: Callable[[str], Path]) -> Answer:
        """Add a captioner's second look at the cited clips; `path_of` finds a video's file.

        What goes wrong is a note: the answer stays.
        """
        citations = [c for s in found.sentences for c in s.citations]
        try:
            captioner = self._models.describer("captioner")
        except ModelError as error:
            return replace(found, notes=(*found.notes, f"no second look: {error}"))
        looks, notes = second_look(
            found.question,
            citations,
            lambda cited: self._view(cited, path_of(cited.video_id)),
            captioner,
        )
        return replace(found, looks=looks, notes=(*found.notes, *notes))

    def _view(self, cited: Citation, path: Path) -> ClipView:
        config = self._config
        clip = Clip(video_id=cited.video_id, index=0, start_s=cited.start_s, end_s=cited.end_s)
        times = sample_times(clip, config.sample.num_frames_per_clip)
        with open_reader(
            path, reader=config.read.reader, timeout_s=config.read.timeout_s
        ) as reader:
            frames = list(reader.frames_at(times, short_side_px=config.sample.short_side_px))
        return ClipView(video_path=path, clip=clip, frames=tuple(unique_frames(frames)))

    def chooser(self, config: AskConfig, embedder: TextEmbedder, background: Background) -> Chooser:
        """Return what chooses among options with the settings' answerer.

        Raises InvalidValue where it needs a language model that reads ahead, and this one cannot.
        """
        from fdvs.answers.choice.combined import make_chooser

        writer = self.writer(config)
        reader = writer if isinstance(writer, PrefillLanguageModel) else None
        return make_chooser(config.answerer, embedder, reader, background=background)

    def _background(self, index: Index) -> Background:
        """Return what the library's videos say; read again once the library has changed."""
        if self._known is None or self._known[0] is not index:
            self._known = index, library_background(index)
        return self._known[1]

    def _fit_judge(self, embedder: TextEmbedder) -> FitJudge:
        if self._judge is None:
            self._judge = FitJudge(embedder)
        return self._judge

    def _ask_config(self, order: Order | None) -> AskConfig:
        return self._config.ask if order is None else replace(self._config.ask, order=order)

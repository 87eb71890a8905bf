"""The library: a folder on disk that holds the stories of videos, to search and to ask.

with Library.open("my-library", preset="offline") as library:
    report = library.build(["videos/"])
    for moment in library.search("a rabbit"):
        print(citation(moment.name, moment.start_s, moment.end_s), moment.text)
    print(library.ask("What does the rabbit do?").text)
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fdvs.config import Config
from fdvs.errors import NotFound
from fdvs.files import Closing
from fdvs.media.files import collect
from fdvs.pipelines.captioners import with_captioner
from fdvs.pipelines.made_by import fitting_embedder, fitting_matcher, note_models, stored_config
from fdvs.pipelines.model_set import ModelSet
from fdvs.pipelines.notebook import library_html, show_pictures_of
from fdvs.pipelines.presets import preset as preset_named
from fdvs.pipelines.presets import settings as settings_of
from fdvs.pipelines.rows import file_of, intact, row_of, row_without_file
from fdvs.pipelines.sources import resolve_sources
from fdvs.pipelines.thread_stores import Signature, ThreadStores
from fdvs.report import BuildEvent, BuildReport, Watcher, ignore_event
from fdvs.stopping import Stop, stoppable
from fdvs.store.store import THUMBNAILS_NAME, Artifact, Store
from fdvs.story.as_json import story_from_json
from fdvs.types import Answer, Moment, Saved, Story, VideoHit, VideoRow

if TYPE_CHECKING:
    from fdvs.answers.choice.chooser import Chooser
    from fdvs.answers.question import Turn
    from fdvs.pipelines.ask.asker import Asker
    from fdvs.pipelines.build.builder import BuildEngine
    from fdvs.pipelines.detail import VideoDetail
    from fdvs.pipelines.exports.formats import Level as ExportLevel
    from fdvs.pipelines.finder import Finder
    from fdvs.protocols import TextEmbedder
    from fdvs.search.index import Index
    from fdvs.search.pictures import PictureIndex, PictureSearch

REST = 20  # times that reading the index took, before it is read again


class Library(Closing):
    """One library. Open it with `Library.open`; close it, or use it in a `with`.

    It may be used from several threads: each has its own connection to the database, models and
    index are shared, and language models answer one question at a time. What another process
    builds or removes is noticed by the next search.
    """

    def __init__(
        self, store: Store, config: Config, models: ModelSet, *, wanted: Config | None = None
    ) -> None:
        """Use `Library.open`. `wanted` are settings with short names of sources, not of cards."""
        self._stores = ThreadStores(store)
        self._lock = threading.RLock()
        self._wanted = wanted or config
        self._models = models
        self._index: Index | None = None
        self._seen: Signature = ()  # of what the index was read from
        self._read_at_s = self._read_took_s = 0.0
        self._picture_index: PictureIndex | None = None
        self._asker: Asker | None = None
        self._finder: Finder | None = None
        self.config = config
        show_pictures_of(store.folder, store.folder / THUMBNAILS_NAME)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the videos with the beginning of their stories."""
        rows = self.videos()
        stories = (intact(self._store, row.video_id or "", "story") for row in rows)
        told = (story_from_json(one.payload).text if one else "" for one in stories)
        return library_html(self.path.name, rows, told)

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        preset: str | None = None,
        config: Path | str | Config | None = None,
        create: bool = True,
        models: Mapping[str, Any] | None = None,
        change: Callable[[Config], Config] | None = None,
    ) -> Library:
        """Open or create the library in folder `path`.

        Args:
            preset: name of a preset; without it and `config`, the settings that the library was
                last built with, or else preset offline.
            config: a Config, or a YAML file whose settings override those of the preset: of
                `preset`, else of the one that the file names.
            create: make folder and library where there are none.
            models: your own models by role, instead of those of the settings (see `ModelSet`).
            change: is given the settings, wherever they come from, and returns those to use.

        Raises:
            LibraryMissing: there is no library and `create` is False.
            ModelUnavailable: a new library needs a model that is not on this machine.
            ConfigError: an unknown preset or a wrong setting.
        """
        if isinstance(config, Config):
            chosen: Config | None = config
        else:
            file = None if config is None else Path(config)
            chosen = settings_of(preset, file) if preset or file else None

        def settled(config: Config | None, stored: Config | None = None) -> tuple[Config, Config]:
            wanted = config or stored or preset_named("offline")
            wanted = change(wanted) if change else wanted
            wanted = with_captioner(wanted, stored, own=models or {})
            return wanted, resolve_sources(wanted, own=models or {}).config

        if create and not Store.exists(Path(path)):
            # Checked before anything is written, so that no empty library is left behind.
            ModelSet(settled(chosen)[1], models=models).check()
        store = Store.open(Path(path), create=create)
        try:
            wanted, settings = settled(chosen, stored_config(store))
            return cls(store, settings, ModelSet(settings, models=models), wanted=wanted)
        except BaseException:
            store.close()
            raise

    @property
    def path(self) -> Path:
        """The library's folder."""
        return self._stores.folder

    @property
    def _store(self) -> Store:
        return self._stores.here()

    def close(self) -> None:
        """Close the library; closing twice is fine."""
        self._stores.close()

    def refresh(self) -> bool:
        """Read again what searches use, if a build wrote meanwhile; return whether it did.

        Searches and questions do this by themselves, but not more often than reading takes 20
        times as long.
        """
        with self._lock:
            if self._index is None or self._stores.signature() == self._seen:
                return False
            self._index = self._picture_index = None
            return True

    def build(
        self,
        paths: str | Path | Sequence[str | Path],
        *,
        progress: Watcher | None = None,
        wait: bool = True,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        prune: bool = False,
        engine: BuildEngine | None = None,
    ) -> BuildReport:
        """Build the stories of all videos under `paths`; valid stored results are reused.

        A bad video is a failed row, never an exception. `progress` gets every step, from threads.
        One build works on a library at a time: `wait` for the other. `include` and `exclude` are
        patterns of names in folders; `prune` forgets videos of the folders whose files are gone;
        `engine` are workers, such as a `RayEngine`.

        Raises:
            MissingVideo: a path does not exist.
            ModelUnavailable: a model of the settings is not here.
            LibraryBusy: another build is at work and `wait` is False.
        """
        from fdvs.pipelines.build.builder import Builder
        from fdvs.pipelines.build.context import BuildContext

        watch = progress or ignore_event
        given = [paths] if isinstance(paths, (str, Path)) else paths
        collected = collect(given, include=include, exclude=exclude)
        self._models.check()

        def on_wait(text: str) -> None:
            watch(BuildEvent(kind="waiting", text=text))

        with self._store.build_lock(wait=wait, on_wait=on_wait):
            self._index = self._picture_index = None
            context = BuildContext(self.path, self.config, self._models)
            if collected.files:
                note_models(self._store, self._wanted, self._models)
            builder = (engine.builder if engine else Builder)(self._store, context, watch)
            report = builder.run(collected, prune=[Path(one) for one in given if prune])
            lacking = resolve_sources(self._wanted).notes
            return replace(report, notes=(*report.notes, *lacking))

    def videos(self) -> list[VideoRow]:
        """Return one row per file that was ever built, by path; failed ones with the reason."""
        records = {record.video_id: record for record in self._store.videos()}
        sources = self._store.sources()
        return [row_of(self._store, one, records.get(one.video_id or "")) for one in sources]

    def story(self, video: str) -> Story:
        """Return the story of a video, by name or id. Raises NotFound."""
        record = self._store.find_video(video)
        artifact = self._store.get(record.video_id, "story")
        if artifact is None:
            raise NotFound(f"{record.name} has no story yet; build it again: fdvs build PATH")
        return story_from_json(artifact.payload)

    def video(self, video: str) -> VideoDetail:
        """Return all that is known of a video, by name or id, clip by clip. Raises NotFound."""
        from fdvs.pipelines.detail import video_detail

        return video_detail(self._store, self._store.find_video(video))

    def media(self, video: str) -> Path:
        """Return the file of a video, by name or id. Raises NotFound, FileGone."""
        return file_of(self._store, self._store.find_video(video))

    def thumbnail(self, video: str, clip: int = 0) -> bytes:
        """Return the picture of a clip as JPEG. Raises NotFound, also for a clip without one."""
        record = self._store.find_video(video)
        path = self._store.thumbnail_path(record.video_id, clip)
        try:
            return path.read_bytes()
        except OSError:
            raise NotFound(f"{record.name} has no picture of clip {clip}") from None

    def export(
        self, video: str, format: str, *, level: ExportLevel | None = None, fps: float = 0.0
    ) -> bytes:
        """Return a video's story in a format of `fdvs.pipelines.exports.formats` (texts in UTF-8).

        `level`: story, scenes, chapters or speech, None for what suits the format; `fps`: of an
        EDL, 0 for the file's own. Raises NotFound, UnknownName, InvalidValue.
        """
        from fdvs.pipelines.exports.formats import export

        detail = self.video(video)
        return export(
            detail, format, level=level, fps=fps,
            picture=lambda clip: self.thumbnail(detail.video_id, clip),
        )  # fmt: skip

    def clip(
        self, video: str, start_s: float, end_s: float, target: str | Path, *, copy: bool = False
    ) -> float:
        """Write [start_s, end_s) of a video into a file; `.gif` makes an animation.

        Returns where it truly starts: with `copy` at the key picture before. Raises NotFound,
        InvalidValue, MediaError, ModelUnavailable without the program ffmpeg.
        """
        from fdvs.pipelines.exports.pieces import cut

        place = Path(target)
        is_gif = place.suffix.lower() == ".gif"
        return cut(self.media(video), start_s, end_s, place, copy=copy, gif=is_gif)

    def sheet(self, video: str) -> bytes:
        """Return the pictures of a video's clips with their times, as one JPEG. Raises NotFound."""
        from fdvs.pipelines.exports.pieces import sheet

        detail = self.video(video)
        return sheet(detail, lambda clip: self.thumbnail(detail.video_id, clip))

    def search(
        self,
        query: str = "",
        *,
        image: str | Path | bytes | None = None,
        num: int | None = None,
        offset: int = 0,
        min_score: float | None = None,
        video: str | None = None,
        videos: Sequence[str] = (),
        start_s: float = 0.0,
        end_s: float | None = None,
        matched_by: Sequence[str] = (),
        sources: Sequence[str] = (),
        nearest: bool = False,
        stop: Stop | None = None,
    ) -> list[Moment]:
        """Return the moments that match a query or a picture, by falling `Moment.relevance`.

        Args:
            image: instead of words: a PNG, JPEG or WebP file, or its bytes.
            num: at most this many, after the first `offset`; None as `search.num_results` says.
            min_score: the least cosine of a match by meaning; None as `search.min_score` says.
                Of pictures: of the nearest frame, None for `fdvs.search.frames.MIN_SCORE`.
            video, videos: only these, by name or id.
            start_s, end_s: only what overlaps [start_s, end_s) of its video, in seconds.
            matched_by: only what matches by one of `meaning`, `words`, `looks`.
            sources: only what one of these carries: `speech`, `subtitles`, `screen`, `pictures`.
            nearest: also what is below the bound, for a query that nothing fits well.
            stop: an event, or a function that says True, to end the search.

        Raises NotFound, InvalidValue, UnknownName, StoreError, Stopped.
        """
        from fdvs.pipelines.finder import Page, filters_of

        filters = filters_of(
            self._store, videos=[*([video] if video else ()), *videos], start_s=start_s,
            end_s=end_s, matched_by=matched_by, sources=sources,
        )  # fmt: skip
        page = Page(num=num, offset=offset, nearest=nearest)
        with stoppable(stop):
            finder = self._opened_finder()
            if image is not None:
                return finder.like(image, query, self._store, min_score, filters, page)
            return finder.moments(query, self._store, min_score, filters, page)

    def search_videos(
        self,
        query: str,
        *,
        num: int | None = None,
        offset: int = 0,
        min_score: float | None = None,
        nearest: bool = False,
    ) -> list[VideoHit]:
        """Return videos by falling relevance: of story, scenes and chapters (arXiv 2412.06182)."""
        from fdvs.pipelines.finder import Page

        page = Page(num=num, offset=offset, nearest=nearest)
        return self._opened_finder().videos(query, self._store, min_score, page)

    def ask(
        self,
        question: str,
        *,
        video: str | None = None,
        options: Sequence[str] | None = None,
        history: Sequence[Turn] = (),
        on_text: Callable[[str], None] | None = None,
        writer: Any = "preset",
        chooser: Chooser | None = None,
        second_look: bool | None = None,
        stop: Stop | None = None,
    ) -> Answer:
        """Answer a question with checked, time-stamped evidence, or say that there is none.

        Args:
            video: only this video, by name or id; else the whole library.
            options: choose one of these; without, the answer is in words.
            history: earlier turns of a chat, oldest first (answers in words only).
            on_text: is given the model's words as they come, before they are checked.
            writer: "preset" for the config's language model, None to quote the evidence, or an own
                LanguageModel.
            chooser: an own Chooser for options; else what `ask.answerer` names.
            second_look: show the cited clips to the captioner again, with the question; None as
                `ask.second_look` says.
            stop: an event, or a function that says True, once the answer is no longer wanted.

        Raises InvalidValue, NotFound, ModelError; see `fdvs.answers.answer.answer`. Raises Stopped,
        never as another error, within a second of `stop` while a model reads or writes.
        """
        return self._answer(
            question, index=self._loaded_index, store_of=lambda _: self._store,
            video_id=self._store.find_video(video).video_id if video else None, options=options,
            history=history, on_text=on_text, writer=writer, chooser=chooser,
            second_look=second_look, stop=stop,
        )  # fmt: skip

    def _answer(
        self,
        question: str,
        *,
        options: Sequence[str] | None = None,
        history: Sequence[Turn] = (),
        stop: Stop | None = None,
        **how: Any,
    ) -> Answer:
        """Answer a question by an index that may hold more libraries than this one, see
        `Asker.answer`; arguments otherwise as for `ask`."""
        from fdvs.answers.question import Question

        asked = Question.parse(question, history=history, options=options or ())
        asker = self._opened_asker()
        with stoppable(stop):
            return asker.answer(asked, embedder=self._text_embedder, **how)

    def remove(self, video: str) -> VideoRow:
        """Remove a video, by name or id, and return its last row. The file itself stays.

        Raises NotFound, or LibraryBusy while a build is at work.
        """
        record = self._store.find_video(video)
        rows = [row for row in self.videos() if row.video_id == record.video_id]
        row = rows[0] if rows else row_without_file(self._store, record)
        with self._store.build_lock(wait=False):
            self._store.remove_video(record.video_id)
            self._index = self._picture_index = None
        return row

    def saved(self) -> dict[str, Saved]:
        """Return what redundancy reduction saved, by the video's name."""
        found = {}
        for record in self._store.videos():
            artifact = intact(self._store, record.video_id, "saved")
            if artifact is not None:
                found[record.name] = Saved(**artifact.payload)
        return found

    def backends(self) -> dict[str, str]:
        """Return the name of each role's model, offline stand-ins marked as such."""
        return self._models.backends()

    def _loaded_index(self) -> Index:
        from fdvs.search.index import Index

        with self._lock:
            rested_s = time.monotonic() - self._read_at_s
            if self._index is not None and rested_s > REST * self._read_took_s:
                self.refresh()
            if self._index is None:
                began_s, self._seen = time.monotonic(), self._stores.signature()
                self._index = Index.load(self._store, self._stored)
                self._read_at_s = time.monotonic()
                self._read_took_s = self._read_at_s - began_s
            return self._index

    def _opened_finder(self) -> Finder:
        from fdvs.pipelines.finder import Finder

        index = self._loaded_index()
        with self._lock:
            said = self._finder.said if self._finder and self._finder.index is index else {}
            self._finder = Finder(
                index=index, models=self._models, config=self.config, said=said,
                embedder=self._text_embedder, pictures=self._picture_search,
            )  # fmt: skip
            return self._finder

    def _stored(self, video_id: str, stage: str, item: int) -> Artifact | None:
        return self._store.get(video_id, stage, item)

    def _opened_asker(self) -> Asker:
        from fdvs.pipelines.ask.asker import Asker

        with self._lock:
            if self._asker is None:
                self._asker = Asker(self.config, self._models, self.path)
            return self._asker

    def _text_embedder(self) -> TextEmbedder:
        return fitting_embedder(self._store, self._models)

    def _picture_search(self) -> PictureSearch | None:
        """Return visual search, None where there is none (`fitting_matcher`)."""
        matcher = fitting_matcher(self._store, self._models)
        if matcher is None:
            return None
        from fdvs.search.pictures import PictureIndex, PictureSearch

        with self._lock:
            if self._picture_index is None:
                self._picture_index = PictureIndex(self._loaded_index().columns)
            return PictureSearch(index=self._picture_index, matcher=matcher)

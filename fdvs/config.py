"""All settings, one frozen dataclass per stage; presets are functions in `fdvs.pipelines.presets`.

The defaults are the documented choices. Values are checked when a config is created, so that a
wrong value is an error before any work starts.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, ClassVar, Literal, get_type_hints

from fdvs.errors import InvalidValue
from fdvs.typed import Checked, Range, check_range
from fdvs.types import JsonDict

ReaderName = Literal["pyav", "ffmpeg", "decord"]
CutMethod = Literal["keyframes", "scenes", "fixed"]
Policy = Literal["cover", "paper", "random", "none"]
RulePolicy = Literal["cover", "paper"]
ChapterWriter = Literal["template", "llm"]
StoryWriter = Literal["extractive", "abstractive"]

#: Settings that no longer exist, with the value that the code now always behaves as. Libraries of
#: older versions store them and their fingerprints cover them, so both keep these values.
RETIRED: dict[str, Any] = {
    "visual.identical": 0.95,
    "visual.threshold": 0.9,
    "textual.identical": 0.995,
    "textual.threshold": 0.9,
    "story.min_scene_chapters": 1,
    "ask.order": "story-first",
    "ask.unsupported": "remove",
}

#: Settings that came later, with their defaults: at these they are left out of what is stored and
#: of fingerprints, so that what older versions built stays valid.
LATER: dict[str, Any] = {"perceive.language": ""}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadConfig(Checked):
    """The video decoder, and the time limit of one operation on a file."""

    section: ClassVar[str] = "read"
    reader: ReaderName = "pyav"
    timeout_s: Annotated[float, Range(0.1, 3600)] = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CutConfig(Checked):
    """Where clips begin: at the codec's keyframes as in the paper, within bounds of length."""

    section: ClassVar[str] = "cut"
    method: CutMethod = "keyframes"
    min_clip_s: Annotated[float, Range(0.0, 3600)] = 2.0
    max_clip_s: float = 30.0
    fixed_clip_s: Annotated[float, Range(0.1, 36000)] = 10.0
    scene_threshold: Annotated[float, Range(0.1, 255)] = 27.0

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        check_range("cut.max_clip_s", self.max_clip_s, max(0.1, 2 * self.min_clip_s), 36000)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig(Checked):
    """Frames per clip; the first one is the keyframe (Eq. 1 of the paper)."""

    section: ClassVar[str] = "sample"
    num_frames_per_clip: Annotated[int, Range(1, 256)] = 8
    short_side_px: Annotated[int, Range(32, 4320)] = 224


@dataclass(frozen=True, slots=True, kw_only=True)
class RedundancyConfig(Checked):
    """Which near-duplicate frames of a clip are dropped.

    `policy`: `cover` keeps the smallest set that represents the rest, `paper` drops what is more
    similar than the mean (arXiv 2412.06182), `random` is a control that drops as many as policy
    `like` would, chosen by `seed`, and `none` keeps all. `floor`: under cover, a dropped frame has
    a kept one at least this similar (docs/decisions/015 measures 0.95).
    """

    section: ClassVar[str] = "redundancy"
    policy: Policy = "cover"
    floor: Annotated[float, Range(-1, 1)] = 0.95
    seed: int = 0
    like: RulePolicy = "cover"

    @property
    def rule(self) -> Policy:
        """The policy that decides how many are dropped: `like` if `policy` is random."""
        return self.like if self.policy == "random" else self.policy


@dataclass(frozen=True, slots=True, kw_only=True)
class TextualConfig(RedundancyConfig):
    """Which repetitive chapters of a video are dropped; policies and `floor` as for frames.

    A chapter is compared with those at most `memory` places away (Sec. III-E, l = 35): under cover
    in both directions, under paper with the mean of the last `memory`.
    """

    section: ClassVar[str] = "textual"
    memory: Annotated[int, Range(1, 100_000)] = 35


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceiveConfig(Checked):
    """The captioner and further sources: names as in `fdvs models list`, or short ones (see
    `fdvs.pipelines.sources`). `auto` takes the short-named ones that this machine can run, `-NAME`
    leaves one out. `language` (`de`, `pt-BR`; "" finds it out) is what is spoken and subtitled.
    """

    section: ClassVar[str] = "perceive"
    captioner: str = "tags"
    sources: tuple[str, ...] = ()
    language: str = ""
    max_observation_chars: Annotated[int, Range(20, 100_000)] = 2000

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        if self.language and not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", self.language):
            allowed = "a code such as de or pt-BR, or '' to find it out"
            raise InvalidValue("perceive.language", self.language, allowed)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapterConfig(Checked):
    """How the paragraph of a clip is written: by a template or the language model."""

    section: ClassVar[str] = "chapter"
    writer: ChapterWriter = "template"
    max_tokens: Annotated[int, Range(8, 4096)] = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryConfig(Checked):
    """How chapters become scenes, and scenes a story.

    An extractive scene has at most `sentences_per_scene` sentences, fewer where little is new.
    """

    section: ClassVar[str] = "story"
    writer: StoryWriter = "extractive"
    max_scene_chapters: Annotated[int, Range(1, 10_000)] = 12
    sentences_per_scene: Annotated[int, Range(1, 100)] = 3
    max_story_sentences: Annotated[int, Range(1, 1000)] = 12
    max_tokens: Annotated[int, Range(8, 8192)] = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions(Checked):
    """How the server of a model is asked; null leaves it to the model's card.

    `max_tokens` bounds a reply, `context_tokens` is what the server takes with the reply,
    `frames_per_call` the pictures of one request (0: all kept ones of a clip), `timeout_s` one
    attempt, `concurrency` the requests at once; `api_key_env` names the variable with the key.
    """

    section: ClassVar[str] = "models.options"
    max_tokens: Annotated[int | None, Range(1, 100_000)] = None
    context_tokens: Annotated[int | None, Range(64, 10_000_000)] = None
    frames_per_call: Annotated[int | None, Range(0, 256)] = None
    timeout_s: Annotated[float | None, Range(0.05, 3600)] = None
    concurrency: Annotated[int | None, Range(1, 64)] = None
    api_key_env: str | None = None

    def __post_init__(self) -> None:
        Checked.__post_init__(self)
        name = self.api_key_env
        if name is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,99}", name):
            # not the value itself: it may be a key
            raise InvalidValue("models.options.api_key_env", "...", "the name of a variable")


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleOptions:
    """Options of the models that a server runs, by role."""

    captioner: ServerOptions = field(default_factory=ServerOptions)
    llm: ServerOptions = field(default_factory=ServerOptions)


LATER["models.options"] = asdict(RoleOptions())


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig:
    """Models by card name, or `backend:target` (a local folder, a hub name, an endpoint).

    `options` are for models that a server runs, by role: captioner and llm.
    """

    image_embedder: str = "efficientnet-lite0"
    text_embedder: str = "minilm-l6"
    llm: str = "smollm2-135m"
    device: str = "auto"
    dtype: str = "auto"
    options: RoleOptions = field(default_factory=RoleOptions)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig(Checked):
    """Hybrid search by meaning, words and pictures, and its weights.

    Texts with a cosine below `min_score` do not match by meaning. `word_weight` is the share of
    words against meaning; `picture_weight` is the weight of clips whose pictures match (0: none).
    """

    section: ClassVar[str] = "search"
    num_results: Annotated[int, Range(1, 10_000)] = 5
    min_score: Annotated[float, Range(-1, 1)] = 0.3
    word_weight: Annotated[float, Range(0, 1)] = 0.5
    picture_weight: Annotated[float, Range(0, 1)] = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class AskConfig(Checked):
    """Answers from the story and the `num_evidence` best chapters (K = 5 in the paper).

    `answerer`: `evidence` quotes chapters or scores options without a language model, `llm` lets
    the model answer, `combined` does both: scores of options are added, and chapters are quoted if
    nothing that the model says is supported. `story_level`: the level of the story that the model
    reads, if its context can hold it. Sentences whose support is below `min_support` are removed,
    and questions that fit the chapters less than `min_fit` (with options `min_choice_fit`) are not
    answered (-1: always answered); both are measured for all-MiniLM-L6-v2 (docs/decisions/013).
    `second_look`: a captioner is asked the question about the cited clips. `cache_mib`: prefilled
    stories are kept on disk up to this size. `attention_plan`: a file of
    scripts/plan_attention.py with the KV budget of each head for long texts; empty for the plan of
    the model's card, if it has one. `reread`: if a text is so long that part of its KV cache is
    evicted, it is read twice, and what the model attends to while it repeats a passage is kept
    (about twice the prefill time, once per text; docs/decisions/016). Where it is off, the gate
    beside the plan judges (scripts/plan_attention.py --gate), if there is one.
    """

    section: ClassVar[str] = "ask"
    num_evidence: Annotated[int, Range(1, 1000)] = 5
    max_tokens: Annotated[int, Range(1, 8192)] = 120
    attention: Literal["auto", "dga", "sdpa"] = "auto"
    attention_plan: str = ""
    reread: bool = True
    answerer: Literal["evidence", "llm", "combined"] = "combined"
    story_level: Literal["chapters", "scenes", "story"] = "scenes"
    history_turns: Annotated[int, Range(0, 100)] = 3
    min_support: Annotated[float, Range(0, 1)] = 0.6
    min_fit: Annotated[float, Range(-1, 1)] = -0.03
    min_choice_fit: Annotated[float, Range(-1, 1)] = 0.0
    second_look: bool = False
    cache_mib: Annotated[int, Range(0, 1_000_000)] = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All settings of a library; `preset` is only a name."""

    preset: str = "offline"
    read: ReadConfig = field(default_factory=ReadConfig)
    cut: CutConfig = field(default_factory=CutConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    visual: RedundancyConfig = field(default_factory=RedundancyConfig)
    perceive: PerceiveConfig = field(default_factory=PerceiveConfig)
    chapter: ChapterConfig = field(default_factory=ChapterConfig)
    textual: TextualConfig = field(default_factory=TextualConfig)
    story: StoryConfig = field(default_factory=StoryConfig)
    models: ModelsConfig = field(default_factory=ModelsConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    ask: AskConfig = field(default_factory=AskConfig)


def field_types(config_type: type) -> dict[str, Any]:
    """Return the resolved type of each field, to load settings from a file."""
    hints = get_type_hints(config_type)
    return {field.name: hints[field.name] for field in fields(config_type)}


def with_retired(section: str, settings: Any) -> JsonDict:
    """Return one section as JSON, retired settings included and later ones left out at their
    defaults: what a fingerprint covers."""
    prefix = f"{section}."
    retired = {k.removeprefix(prefix): v for k, v in RETIRED.items() if k.startswith(prefix)}
    later = {k.removeprefix(prefix): v for k, v in LATER.items() if k.startswith(prefix)}
    now = {k: v for k, v in asdict(settings).items() if k not in later or v != later[k]}
    return {**retired, **now}

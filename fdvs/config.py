"""All settings, one frozen dataclass per stage; presets are functions in `fdvs.pipelines.presets`.

The defaults are the documented choices. Values are checked when a config is created, so that a
wrong value is an error before any work starts.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args, get_type_hints

from fdvs.errors import InvalidValue
from fdvs.typed import check_range
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


def check_choices(config: object) -> None:
    """Raise InvalidValue if a field annotated with a Literal has another value."""
    for name, hint in get_type_hints(type(config)).items():
        allowed = get_args(hint)
        if getattr(hint, "__origin__", None) is Literal and getattr(config, name) not in allowed:
            raise InvalidValue(name, getattr(config, name), ", ".join(map(str, allowed)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadConfig:
    """The video decoder, and the time limit of one operation on a file."""

    reader: ReaderName = "pyav"
    timeout_s: float = 30.0

    def __post_init__(self) -> None:
        check_choices(self)
        check_range("read.timeout_s", self.timeout_s, 0.1, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class CutConfig:
    """Where clips begin: at the codec's keyframes as in the paper, within bounds of length."""

    method: CutMethod = "keyframes"
    min_clip_s: float = 2.0
    max_clip_s: float = 30.0
    fixed_clip_s: float = 10.0
    scene_threshold: float = 27.0

    def __post_init__(self) -> None:
        check_choices(self)
        check_range("cut.min_clip_s", self.min_clip_s, 0.0, 3600)
        check_range("cut.max_clip_s", self.max_clip_s, max(0.1, 2 * self.min_clip_s), 36000)
        check_range("cut.fixed_clip_s", self.fixed_clip_s, 0.1, 36000)
        check_range("cut.scene_threshold", self.scene_threshold, 0.1, 255)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleConfig:
    """Frames per clip; the first one is the keyframe (Eq. 1 of the paper)."""

    num_frames_per_clip: int = 8
    short_side_px: int = 224

    def __post_init__(self) -> None:
        check_range("sample.num_frames_per_clip", self.num_frames_per_clip, 1, 256)
        check_range("sample.short_side_px", self.short_side_px, 32, 4320)


@dataclass(frozen=True, slots=True, kw_only=True)
class RedundancyConfig:
    """Which near-duplicate frames of a clip are dropped.

    `policy`: `cover` keeps the smallest set that represents the rest, `paper` drops what is more
    similar than the mean (arXiv 2412.06182), `random` is a control that drops as many as policy
    `like` would, chosen by `seed`, and `none` keeps all. `floor`: under cover, a dropped frame has
    a kept one at least this similar (docs/decisions/015 measures 0.95).
    """

    policy: Policy = "cover"
    floor: float = 0.95
    seed: int = 0
    like: RulePolicy = "cover"

    def __post_init__(self) -> None:
        check_choices(self)
        check_range("redundancy.floor", self.floor, -1, 1)

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

    memory: int = 35

    def __post_init__(self) -> None:
        RedundancyConfig.__post_init__(self)
        check_range("textual.memory", self.memory, 1, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class PerceiveConfig:
    """The captioner and further sources that describe a clip; names as in `fdvs models list`."""

    captioner: str = "tags"
    sources: tuple[str, ...] = ()
    max_observation_chars: int = 2000

    def __post_init__(self) -> None:
        check_range("perceive.max_observation_chars", self.max_observation_chars, 20, 100_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChapterConfig:
    """How the paragraph of a clip is written: by a template or the language model."""

    writer: ChapterWriter = "template"
    max_tokens: int = 128

    def __post_init__(self) -> None:
        check_choices(self)
        check_range("chapter.max_tokens", self.max_tokens, 8, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoryConfig:
    """How chapters become scenes, and scenes a story."""

    writer: StoryWriter = "extractive"
    max_scene_chapters: int = 12
    sentences_per_scene: int = 2
    max_story_sentences: int = 12
    max_tokens: int = 256

    def __post_init__(self) -> None:
        check_choices(self)
        check_range("story.max_scene_chapters", self.max_scene_chapters, 1, 10_000)
        check_range("story.sentences_per_scene", self.sentences_per_scene, 1, 100)
        check_range("story.max_story_sentences", self.max_story_sentences, 1, 1000)
        check_range("story.max_tokens", self.max_tokens, 8, 8192)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelsConfig:
    """Models by card name, or `backend:target` (a local folder, a hub name, an endpoint)."""

    image_embedder: str = "efficientnet-lite0"
    text_embedder: str = "minilm-l6"
    llm: str = "smollm2-135m"
    device: str = "auto"
    dtype: str = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchConfig:
    """Hybrid search by meaning, words and pictures, and its weights.

    Texts with a cosine below `min_score` do not match by meaning. `word_weight` is the share of
    words against meaning; `picture_weight` is the weight of clips whose pictures match (0: none).
    """

    num_results: int = 5
    min_score: float = 0.3
    word_weight: float = 0.5
    picture_weight: float = 0.5

    def __post_init__(self) -> None:
        check_range("search.num_results", self.num_results, 1, 10_000)
        check_range("search.min_score", self.min_score, -1, 1)
        check_range("search.word_weight", self.word_weight, 0, 1)
        check_range("search.picture_weight", self.picture_weight, 0, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskConfig:
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
    (about twice the prefill time, once per text; docs/decisions/016).
    """

    num_evidence: int = 5
    max_tokens: int = 120
    attention: Literal["auto", "dga", "sdpa"] = "auto"
    attention_plan: str = ""
    reread: bool = True
    answerer: Literal["evidence", "llm", "combined"] = "combined"
    story_level: Literal["chapters", "scenes", "story"] = "scenes"
    history_turns: int = 3
    min_support: float = 0.6
    min_fit: float = -0.03
    min_choice_fit: float = 0.0
    second_look: bool = False
    cache_mib: int = 512

    def __post_init__(self) -> None:
        check_choices(self)
        check_range("ask.num_evidence", self.num_evidence, 1, 1000)
        check_range("ask.max_tokens", self.max_tokens, 1, 8192)
        check_range("ask.history_turns", self.history_turns, 0, 100)
        check_range("ask.min_support", self.min_support, 0, 1)
        check_range("ask.min_fit", self.min_fit, -1, 1)
        check_range("ask.min_choice_fit", self.min_choice_fit, -1, 1)
        check_range("ask.cache_mib", self.cache_mib, 0, 1_000_000)


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
    return get_type_hints(config_type)


def with_retired(section: str, settings: Any) -> JsonDict:
    """Return one section as JSON, retired settings included: what a fingerprint covers."""
    prefix = f"{section}."
    retired = {k.removeprefix(prefix): v for k, v in RETIRED.items() if k.startswith(prefix)}
    return {**retired, **asdict(settings)}

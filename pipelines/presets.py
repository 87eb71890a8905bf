"""Presets: functions that return a full config; a variant changes a field.

All but `paper` also use subtitles and, where package and weights are on this machine, speech and
text on screen. `offline` runs anywhere without a network, with stand-ins for the vision models;
`laptop`, `gpu` and `paper` need their models fetched once. A model's card says whether the project
ever ran its real weights. The floor of visual redundancy was measured with the features of
`offline`; for CLIP it is a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fdvs.config import (
    AskConfig,
    ChapterConfig,
    Config,
    ModelsConfig,
    PerceiveConfig,
    RedundancyConfig,
    SampleConfig,
    StoryConfig,
    TextualConfig,
)
from fdvs.configfile import load_config
from fdvs.errors import UnknownName

DEFAULT = "offline"
# in `perceive.sources`: whatever of subtitles, speech and ocr this machine can run; as
# `perceive.captioner`: see `captioners.py`
AUTO = "auto"


def offline() -> Config:
    """Small models from registry packages; template chapters, extractive story, quotes in `ask`."""
    return Config(
        preset="offline",
        perceive=PerceiveConfig(sources=(AUTO,)),
        ask=AskConfig(answerer="evidence"),
    )


def laptop() -> Config:
    """open_clip ViT-B-32, MiniLM, a 1.5B instruct LLM; captions by what this machine has."""
    return Config(
        preset="laptop",
        sample=SampleConfig(short_side_px=384),
        perceive=PerceiveConfig(captioner=AUTO, sources=(AUTO,)),
        models=ModelsConfig(
            image_embedder="openclip-vit-b-32",
            text_embedder="minilm-l6",
            llm="qwen2.5-1.5b-instruct",
        ),
    )


def gpu() -> Config:
    """open_clip ViT-L-14, and Qwen3-VL-4B for captions, chapters, stories and answers."""
    return Config(
        preset="gpu",
        sample=SampleConfig(short_side_px=448),
        perceive=PerceiveConfig(captioner="qwen3-vl-4b", sources=(AUTO,)),
        chapter=ChapterConfig(writer="llm"),
        story=StoryConfig(writer="abstractive"),
        models=ModelsConfig(
            image_embedder="openclip-vit-l-14",
            text_embedder="minilm-l6",
            llm="captioner",
        ),
        ask=AskConfig(max_tokens=300),
    )


def paper() -> Config:
    """What arXiv 2412.06182 used: BLIP-2, GroundingDINO, a Kinetics-400 classifier, Vicuna-7B."""
    return Config(
        preset="paper",
        visual=RedundancyConfig(policy="paper"),
        perceive=PerceiveConfig(
            captioner="blip2-flan-t5-xl", sources=("grounding-dino", "videomae-kinetics400")
        ),
        chapter=ChapterConfig(writer="llm", max_tokens=100),
        textual=TextualConfig(policy="paper"),
        story=StoryConfig(writer="abstractive"),
        models=ModelsConfig(
            image_embedder="openclip-vit-b-32-openai",
            text_embedder="bert-base-nli-mean-tokens",
            llm="vicuna-7b-v1.5",
        ),
    )


PRESETS: dict[str, Callable[[], Config]] = {
    "offline": offline,
    "laptop": laptop,
    "gpu": gpu,
    "paper": paper,
}


def preset(name: str) -> Config:
    """Return the config of a preset. Raises UnknownName with near matches."""
    if name not in PRESETS:
        raise UnknownName("preset", name, PRESETS)
    return PRESETS[name]()


def settings(name: str | None, file: Path | None) -> Config:
    """Return the settings of a preset, with those of a YAML file laid over them.

    The preset is `name`, else the one that the file names as `preset`, else `offline`.
    Raises UnknownName for the preset, ConfigError for the file.
    """
    if file is None:
        return preset(name or DEFAULT)
    return load_config(file, preset(name) if name else lambda named: preset(named or DEFAULT))

"""Processor seconds a clip of SmolVLM2-500M's exact sizes with random weights, on one CPU thread.

    python research/bench_captioner.py [--csv benchmarks/captioner.csv] [--rounds 3]

The weights mean nothing; time and memory do not depend on them. Each clip has pictures of 384 x 682
and gets 80 new tokens, however soon a real model would stop. Forms take turns: one video with
times, and pictures with a text before each. A word of the prompt is one token here, so prompts are
a little shorter than with the real tokenizer.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import csv_rows
import numpy as np
import torch
from bench_rows import cpu_name

from fdvs.models.describe.vlm import TransformersCaptioner, VlmOptions
from fdvs.models.describe.vlm_prompts import Call, question, video_question
from fdvs.types import Frame, ModelIdentity

NEW_TOKENS = 80
VOCABULARY = 49_280
# As published: 507 million numbers, which are 2.03 GB in float32.
TEXT = {
    "model_type": "llama", "hidden_size": 960, "intermediate_size": 2560, "num_hidden_layers": 32,
    "num_attention_heads": 15, "num_key_value_heads": 5, "head_dim": 64, "vocab_size": VOCABULARY,
    "max_position_embeddings": 8192, "pad_token_id": 2, "bos_token_id": 1, "eos_token_id": None,
}  # fmt: skip
VISION = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "image_size": 512, "patch_size": 16,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the rows, and write them where `--csv` says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--csv", type=Path, metavar="FILE")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, nargs="+", default=[1, 4, 8])
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    captioners = {"video": captioner("auto")}
    model = captioners["video"].model
    captioners["pictures"] = captioner("pictures", model)
    num_numbers = sum(p.numel() for p in model.parameters())
    spent: dict[tuple[str, int], list[tuple[float, float, int]]] = {}
    for _ in range(options.rounds):
        for form, one in captioners.items():
            for num_frames in options.frames:
                if num_frames > 1 or form == "pictures":
                    spent.setdefault((form, num_frames), []).append(measured(one, num_frames))
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    rows = [
        {
            "model": "SmolVLM2-500M, random weights", "numbers": num_numbers, "form": form,
            "frames": num_frames, "prompt_tokens": runs[0][2], "new_tokens": NEW_TOKENS,
            "preprocessing_cpu_s": round(statistics.median(a for a, _, _ in runs), 2),
            "clip_cpu_s": round(statistics.median(b for _, b, _ in runs), 1),
            "clip_cpu_s_min": round(min(b for _, b, _ in runs), 1),
            "clip_cpu_s_max": round(max(b for _, b, _ in runs), 1),
            "rounds": len(runs), "peak_mib": peak_mib,
            "device": f"{cpu_name()}, 1 thread",
        }
        for (form, num_frames), runs in spent.items()
    ]  # fmt: skip
    csv_rows.print_and_write(rows, options.csv)
    return 0


def captioner(frames_as: Any, model: Any = None) -> TransformersCaptioner:
    """Return a captioner of the published sizes; its end token is never written."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    processor = processor_of()
    if model is None:
        torch.manual_seed(0)
        config = SmolVLMConfig(
            text_config=TEXT, vision_config=VISION, scale_factor=4, pad_token_id=2,
            image_token_id=processor.image_token_id, tie_word_embeddings=False,
        )  # fmt: skip
        model = SmolVLMForConditionalGeneration(config).eval()
        model.generation_config.eos_token_id = None
    identity = ModelIdentity(role="captioner", backend="transformers", name="SmolVLM2-500M sizes")
    settings = VlmOptions(max_new_tokens=NEW_TOKENS, frames_as=frames_as)
    return TransformersCaptioner(processor, model, identity, settings)


def processor_of() -> Any:
    """Return the family's processor at its published sizes, with a tokenizer of words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import (
        PreTrainedTokenizerFast,
        SmolVLMImageProcessor,
        SmolVLMProcessor,
        SmolVLMVideoProcessor,
    )
    from transformers.models.smolvlm.processing_smolvlm import DEFAULT_CHAT_TEMPLATE

    specials = ["<image>", "<fake_token_around_image>", "<global-img>", "<end_of_utterance>"]
    words = ["<unk>", "<s>", "</s>", *specials]
    words += [f"word{number}" for number in range(VOCABULARY - len(words))]
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, unk_token="<unk>", bos_token="<s>", eos_token="</s>",
        pad_token="</s>", additional_special_tokens=specials,
    )  # fmt: skip
    sizes = {"size": {"longest_edge": 2048}, "max_image_size": {"longest_edge": 512}}
    return SmolVLMProcessor(
        SmolVLMImageProcessor(**sizes), tokenizer, SmolVLMVideoProcessor(**sizes),
        image_seq_len=64, chat_template=DEFAULT_CHAT_TEMPLATE,
    )  # fmt: skip


def measured(one: TransformersCaptioner, num_frames: int) -> tuple[float, float, int]:
    """Return processor seconds of preprocessing and of all, and the tokens of the prompt."""
    noise = np.random.default_rng(num_frames)
    frames = tuple(
        Frame(time_s=2.0 * at, image=noise.integers(0, 255, (384, 682, 3), np.uint8))
        for at in range(num_frames)
    )
    call = Call(clip_position=0, frames=frames, start_s=0.0, end_s=20.0)
    prompt = video_question() if one.inputs.is_video(call) else question(num_frames)
    start_s = time.process_time()
    inputs = one.inputs_of([call], [prompt])
    prepared_s = time.process_time()
    with torch.inference_mode():
        made = one.model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False)
    end_s = time.process_time()
    num_prompt = int(inputs["input_ids"].shape[1])
    assert made.shape[1] == num_prompt + NEW_TOKENS
    return prepared_s - start_s, end_s - start_s, num_prompt


if __name__ == "__main__":
    raise SystemExit(main())

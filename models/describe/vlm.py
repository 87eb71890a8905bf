"""Captions by a vision-language model (VLM) of transformers: SmolVLM2, Qwen-VL, BLIP-2, ...

Takes the kept frames of several clips, gives one greedily decoded caption per call. By default a
model with a chat template gets all kept frames of a clip in one call; one without (BLIP-2) gets one
call per frame, as in the paper.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fdvs.errors import ConfigError, ModelError
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.vlm_prompts import (
    PLAIN,
    PROMPTS_VERSION,
    Call,
    calls_for,
    captions_by_clip,
    clean_reply,
    look_question,
    question,
    whole_call,
)
from fdvs.models.weights.fetch import identity_of, model_folder
from fdvs.models.weights.loading import (
    MODEL_FAULTS,
    batch_size_for,
    load_part,
    load_weights,
    loading,
    place,
    reason_of,
)
from fdvs.models.weights.templates import check_template, rendered
from fdvs.typed import check_range
from fdvs.types import ClipView, ModelIdentity, Observation

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmOptions:
    """Options of a captioner's card.

    `frames_per_call`: 0 for all kept frames of a clip in one call, 1 for one call per frame (as in
    the paper), None for what the model supports. `batch_size`: calls at a time, None to choose by
    device. `split_images`: let models that can cut a picture into tiles do so; frames are small,
    so tiles cost many tokens and show nothing more.
    """

    max_new_tokens: int = 96
    batch_size: int | None = None
    frames_per_call: int | None = None
    split_images: bool = False

    def __post_init__(self) -> None:
        check_range("max_new_tokens", self.max_new_tokens, 4, 4096)
        check_range("batch_size", self.batch_size, 1, 1024)
        check_range("frames_per_call", self.frames_per_call, 0, 256)


class TransformersCaptioner:
    """A Describer and SecondLookCaptioner: `model` and `processor` of transformers."""

    source = "caption"
    version = PROMPTS_VERSION
    needs_frames = True

    def __init__(
        self, processor: Any, model: Any, identity: ModelIdentity, options: VlmOptions
    ) -> None:
        self.identity = identity
        template = getattr(processor, "chat_template", None) or getattr(
            processor.tokenizer, "chat_template", None
        )
        check_template(template or "", name=identity.label())
        self.is_chat = bool(template)
        self.frames_per_call = _frames_per_call(options, self.is_chat, identity.name)
        self.batch_size = batch_size_for(model, options.batch_size, cpu=4, gpu=16)
        self.processor, self.model, self._options = processor, model, options
        # `model.dtype` is that of its first tensor, and BLIP-2 keeps that one in float32
        self._dtype = Counter(p.dtype for p in model.parameters()).most_common(1)[0][0]
        _pad_left(processor.tokenizer)

    @classmethod
    def load(cls, card: Card, settings: LoadSettings) -> TransformersCaptioner:
        """Load processor and weights. Raises ModelUnavailable, ConfigError for wrong options."""
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

        from fdvs.models.describe.patches import multiply_patches

        options = options_from(card, VlmOptions, shared=("files",))
        processor = load_part(AutoProcessor, card)
        if not hasattr(processor, "tokenizer"):
            raise ConfigError(
                f"model {card.name!r} has no tokenizer, so it cannot caption; choose a VLM"
            )
        device, dtype = place(settings, f"captioner {card.name}")
        dtype = _dtype_for(load_part(AutoConfig, card), dtype, card)
        model = load_weights(AutoModelForImageTextToText, card, device=device, dtype=dtype)
        multiply_patches(model)
        with loading(card, model_folder(card)):
            return cls(processor, model, identity_of(card), options)

    def describe(self, clips: Sequence[ClipView]) -> list[list[Observation]]:
        """Caption the clips' frames. Raises BadModelOutput, and ModelError where it fails."""
        calls = calls_for(clips, frames_per_call=self.frames_per_call)
        captions = []
        for at in range(0, len(calls), self.batch_size):
            captions += self._answers(calls[at : at + self.batch_size])
        return captions_by_clip(len(clips), calls, captions)

    def look(self, clips: Sequence[ClipView], asked: str) -> list[str]:
        """Answer a question about each clip, one at a time. Raises as `describe`.

        A model without a chat template sees the first frame only.
        """
        replies = []
        for position, view in enumerate(clips):
            call = whole_call(position, view)
            if not self.is_chat:
                call = replace(call, frames=call.frames[:1])
            prompt = look_question(asked, len(call.frames))
            replies += self._answers(
                [call], [prompt if self.is_chat else f"Question: {asked} Answer:"]
            )
        return replies

    def _answers(self, calls: Sequence[Call], prompts: Sequence[str] = ()) -> list[str]:
        prompts = prompts or [question(len(c.frames)) if self.is_chat else PLAIN for c in calls]
        try:
            inputs = self.inputs_of(calls, prompts)
            rows_BT = self._generate(inputs)
        except MODEL_FAULTS as error:  # includes out of memory
            raise ModelError(
                f"{self.identity.label()} failed on {len(calls)} questions ({reason_of(error)}); "
                "a smaller batch_size or fewer frames per clip may help"
            ) from error
        tokenizer = self.processor.tokenizer
        texts = tokenizer.batch_decode(rows_BT, skip_special_tokens=True)
        ends = _end_tokens(self.model, tokenizer)
        return [
            clean_reply(
                text,
                prompt=prompt,
                who=self.identity.label(),
                is_cut=len(row_T) > 0 and int(row_T[-1]) not in ends,
            )
            for text, prompt, row_T in zip(texts, prompts, rows_BT, strict=True)
        ]

    def inputs_of(self, calls: Sequence[Call], prompts: Sequence[str]) -> Any:
        """Return the processor's tensors for a batch, on the model's device and in its dtype."""
        from PIL import Image

        pictures = [[Image.fromarray(frame.image) for frame in call.frames] for call in calls]
        if self.is_chat:
            texts = [
                self._chat(prompt, len(group))
                for prompt, group in zip(prompts, pictures, strict=True)
            ]
            images: list[Any] = list(pictures)
        else:
            texts, images = list(prompts), [picture for group in pictures for picture in group]
        inputs = self.processor(
            text=texts, images=images, padding=True, return_tensors="pt", **self._sizes()
        )
        return inputs.to(self.model.device, self._dtype)

    def _chat(self, prompt: str, num_pictures: int) -> str:
        content: list[dict[str, str]] = [{"type": "image"} for _ in range(num_pictures)]
        content.append({"type": "text", "text": prompt})
        return rendered(
            self.processor, [{"role": "user", "content": content}], name=self.identity.label(),
            add_generation_prompt=True, enable_thinking=False,
        )  # fmt: skip

    def _sizes(self) -> dict[str, Any]:
        """Return what keeps pictures whole, at the size that the model sees.

        A processor that can cut tiles would blow each picture up for them even without tiles.
        """
        images = getattr(self.processor, "image_processor", None)
        if not hasattr(images, "do_image_splitting"):
            return {}
        if self._options.split_images:
            return {"do_image_splitting": True}
        longest = (getattr(images, "max_image_size", None) or {}).get("longest_edge")
        return {"do_image_splitting": False} | (
            {"size": {"longest_edge": longest}} if longest else {}
        )

    def _generate(self, inputs: Any) -> torch.Tensor:
        """Return the new tokens [B, T] alone, whether or not the output repeats the prompt."""
        import torch

        with torch.inference_mode():
            rows_BT: torch.Tensor = self.model.generate(
                **inputs,
                max_new_tokens=self._options.max_new_tokens,
                do_sample=False,
                num_beams=1,
                # a checkpoint's own sampling settings would only cause warnings
                temperature=None,
                top_p=None,
                top_k=None,
                repetition_penalty=1.0,  # a checkpoint's own would punish what the prompt says
            )
        prompt_BP = inputs["input_ids"]
        num_prompt = prompt_BP.shape[1]
        if rows_BT.shape[1] >= num_prompt and torch.equal(rows_BT[:, :num_prompt], prompt_BP):
            return rows_BT[:, num_prompt:]
        return rows_BT


def _frames_per_call(options: VlmOptions, is_chat: bool, name: str) -> int:
    if options.frames_per_call is None:
        return 0 if is_chat else 1
    if not is_chat and options.frames_per_call != 1:
        raise ConfigError(
            f"frames_per_call is {options.frames_per_call}; allowed for {name}: 1 (it has no chat "
            "template, so it takes one picture per call)"
        )
    return options.frames_per_call


def _dtype_for(config: Any, dtype: torch.dtype, card: Card) -> torch.dtype:
    """Return the number type for a model; T5 (in BLIP-2) overflows in float16."""
    import torch

    text = getattr(config, "text_config", None)
    if dtype != torch.float16 or getattr(text, "model_type", "") != "t5":
        return dtype
    logger.info("captioner %s: float32 (its T5 overflows in float16)", card.name)
    return torch.float32


def _pad_left(tokenizer: Any) -> None:
    """Pad on the left: generation continues from the last token of every row."""
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the token ids that mark a complete reply (padding follows an end token)."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    ids = [*listed, tokenizer.eos_token_id, tokenizer.pad_token_id]
    return frozenset(token for token in ids if token is not None)

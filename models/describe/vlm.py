"""Captions by a vision-language model (VLM) of transformers: SmolVLM2, Qwen-VL, BLIP-2, ...

Takes the kept frames of several clips, gives one greedily decoded caption per call. By default a
model with a chat template gets all kept frames of a clip in one call; one without (BLIP-2) gets one
call per frame, as in the paper.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fdvs.errors import BadModelOutput, ConfigError, ModelError
from fdvs.models.cards import Card, LoadSettings, options_from
from fdvs.models.describe.batching import token_bound
from fdvs.models.describe.vlm_inputs import FrameInputs, FramesAs, spread
from fdvs.models.describe.vlm_prompts import (
    PLAIN,
    PROMPTS_VERSION,
    Call,
    calls_for,
    captions_by_clip,
    clean_reply,
    look_question,
    question,
    video_question,
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
from fdvs.models.weights.templates import check_template
from fdvs.typed import check_range
from fdvs.types import ClipView, ModelIdentity, Observation

if TYPE_CHECKING:
    import torch

Asked = tuple[Call, str]
Reply = str | BadModelOutput

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VlmOptions:
    """Options of a captioner's card.

    `frames_per_call`: 0 for all kept frames of a clip in one call, 1 for one call per frame (as in
    the paper), None for what the model supports. `batch_size`: calls at a time, None to choose by
    device. `split_images`: let models that can cut a picture into tiles do so; frames are small,
    so tiles cost many tokens and show nothing more. `max_frames`: of more in a call, these are
    evenly spread. `frames_as`: a video with times where the family was trained on that
    (`vlm_inputs.py`), else pictures. `batch_tokens`: prompts and replies at a time, None to find
    out. `prompt` replaces the question.
    """

    max_new_tokens: int = 160
    batch_size: int | None = None
    frames_per_call: int | None = None
    split_images: bool = False
    max_frames: int = 8
    frames_as: FramesAs = "auto"
    batch_tokens: int | None = None
    prompt: str = ""

    def __post_init__(self) -> None:
        check_range("max_new_tokens", self.max_new_tokens, 4, 4096)
        check_range("batch_size", self.batch_size, 1, 1024)
        check_range("frames_per_call", self.frames_per_call, 0, 256)
        check_range("max_frames", self.max_frames, 1, 256)
        check_range("batch_tokens", self.batch_tokens, 64, 1 << 24)


class TransformersCaptioner:
    """A Describer and SecondLookCaptioner: `model` and `processor` of transformers."""

    source = "caption"
    version = PROMPTS_VERSION + 2  # with times: as a video, or before each picture
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
        self.inputs = FrameInputs(
            processor, name=identity.label(), is_chat=self.is_chat, frames_as=options.frames_as,
            split_images=options.split_images,
        )  # fmt: skip
        self.bound = token_bound(model, options.batch_tokens, name=identity.label())
        # `model.dtype` is that of its first tensor, and BLIP-2 keeps that one in float32
        self._dtype = Counter(p.dtype for p in model.parameters()).most_common(1)[0][0]
        self.lock = threading.Lock()  # some families keep state from one call to the next
        self._kept: dict[tuple[object, ...], Reply] = {}
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
        """Caption the clips' frames. Raises BadModelOutput, and ModelError where it fails.

        Where one reply is bad, those to the other clips are kept for who asks for each alone.
        """
        calls = [self._bounded(c) for c in calls_for(clips, frames_per_call=self.frames_per_call)]
        keys = [_key(clips[call.clip_position], call) for call in calls]
        known = self._kept if set(keys) <= self._kept.keys() else {}
        replies = [known[key] for key in keys] if known else self._replies(calls)
        bad = next((reply for reply in replies if isinstance(reply, BadModelOutput)), None)
        if bad is not None:
            self._kept = known or dict(zip(keys, replies, strict=True))
            raise bad
        return captions_by_clip(len(clips), calls, [str(reply) for reply in replies])

    def _replies(self, calls: Sequence[Call]) -> list[Reply]:
        replies: list[Reply] = [""] * len(calls)
        for places in self._alike(calls):
            asked = [(calls[at], self._question(calls[at])) for at in places]
            for at, reply in zip(places, self._in_batches(asked), strict=True):
                replies[at] = reply
        return replies

    def look(self, clips: Sequence[ClipView], asked: str) -> list[str]:
        """Answer a question about each clip, one at a time. Raises as `describe`.

        A model without a chat template sees the first frame only.
        """
        replies = []
        for position, view in enumerate(clips):
            call = self._bounded(whole_call(position, view))
            prompt = f"Question: {asked} Answer:"
            if self.is_chat:
                is_video = self.inputs.is_video(call)
                prompt = look_question(asked, len(call.frames), is_video=is_video)
            else:
                call = replace(call, frames=call.frames[:1])
            (reply,) = self._answers([(call, prompt)])
            if isinstance(reply, BadModelOutput):
                raise reply
            replies.append(reply)
        return replies

    def _bounded(self, call: Call) -> Call:
        return replace(call, frames=tuple(spread(call.frames, self._options.max_frames)))

    def _question(self, call: Call) -> str:
        if self._options.prompt:
            return self._options.prompt
        if not self.is_chat:
            return PLAIN
        return video_question() if self.inputs.is_video(call) else question(len(call.frames))

    def _alike(self, calls: Sequence[Call]) -> list[list[int]]:
        """Return the positions of calls that make good batches: of one form, length and size."""
        groups: dict[Any, list[int]] = defaultdict(list)
        for at, call in enumerate(calls):
            groups[self.inputs.is_video(call), len(call.frames), call.frames[0].image.shape].append(
                at
            )
        return list(groups.values())

    def _in_batches(self, asked: Sequence[Asked]) -> list[Reply]:
        """Answer questions of one size, as many at a time as fit."""
        if len(asked) == 1:
            return self._answers(asked)
        call, prompt = asked[0]
        with self._model_errors(1):
            num_prompt = int(self.inputs.tensors([call], [prompt])["input_ids"].shape[1])
        return self.bound.in_batches(
            asked, self._answers, most=self.batch_size,
            tokens_per_row=num_prompt + self._options.max_new_tokens,
        )  # fmt: skip

    def _answers(self, asked: Sequence[Asked]) -> list[Reply]:
        calls, prompts = [call for call, _ in asked], [prompt for _, prompt in asked]
        with self._model_errors(len(calls)):
            rows_BT = self._generate(self.inputs_of(calls, prompts))
        tokenizer = self.processor.tokenizer
        texts = tokenizer.batch_decode(rows_BT, skip_special_tokens=True)
        ends = _end_tokens(self.model, tokenizer)
        replies: list[Reply] = []
        for text, prompt, row_T in zip(texts, prompts, rows_BT, strict=True):
            is_cut = len(row_T) > 0 and int(row_T[-1]) not in ends
            try:
                replies.append(
                    clean_reply(text, prompt=prompt, who=self.identity.label(), is_cut=is_cut)
                )
            except BadModelOutput as error:
                replies.append(error)
        return replies

    @contextmanager
    def _model_errors(self, num_questions: int) -> Iterator[None]:
        try:
            yield
        except MODEL_FAULTS as error:  # includes out of memory
            raise ModelError(
                f"{self.identity.label()} failed on {num_questions} questions "
                f"({reason_of(error)}); a smaller batch_size or fewer frames per clip may help"
            ) from error

    def inputs_of(self, calls: Sequence[Call], prompts: Sequence[str]) -> Any:
        """Return the processor's tensors for a batch, on the model's device and in its dtype."""
        return self.inputs.tensors(calls, prompts).to(self.model.device, self._dtype)

    def _generate(self, inputs: Any) -> torch.Tensor:
        """Return the new tokens [B, T] alone, whether or not the output repeats the prompt."""
        import torch

        with self.lock, torch.inference_mode():
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


def _key(view: ClipView, call: Call) -> tuple[object, ...]:
    times = tuple(frame.time_s for frame in call.frames)
    return view.clip.video_id, view.clip.index, view.clip.start_s, view.clip.end_s, times


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

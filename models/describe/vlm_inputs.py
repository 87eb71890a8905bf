"""What a vision-language model is shown: frames in the form that its family was trained on.

Takes calls (frames with times) and a question, gives the processor's tensors. A family whose
processor has a form for videos with times sees one video: SmolVLM2 ("series of eight frames from a
0:00:30 video", a line with mm:ss before each), Qwen3-VL and later (seconds before each frame). The
others see pictures with number and time before each, or a single picture without chat template.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

from fdvs.errors import ConfigError, ModelError
from fdvs.models.describe.vlm_prompts import Call, picture_label
from fdvs.models.weights.templates import rendered
from fdvs.types import Image

FramesAs = Literal["auto", "video", "pictures"]
# Processors that write the time of each frame of a video into the prompt.
WITH_TIMES = ("SmolVLMProcessor", "Qwen3VLProcessor")
# Times are told in thousandths of a second: frames are not evenly spaced.
TICKS_PER_S = 1000

logger = logging.getLogger(__name__)


class FrameInputs:
    """The processor of a checkpoint, asked in one of three forms.

    `is_chat`: it has a chat template. `shows_videos`: two frames or more are shown as a video.
    """

    def __init__(
        self, processor: Any, *, name: str, is_chat: bool, frames_as: FramesAs, split_images: bool
    ) -> None:
        self.processor = processor
        self.is_chat = is_chat
        self._name = name
        self._split_images = split_images
        # processors complain of what their template does not name
        template = str(getattr(processor, "chat_template", ""))
        self._thinking = {"enable_thinking": False} if "enable_thinking" in template else {}
        self.shows_videos = self._has_videos(frames_as)
        logger.info("%s: frames as %s", name, "videos" if self.shows_videos else "pictures")

    def is_video(self, call: Call) -> bool:
        """Whether a call's frames are shown as a video; a single one is a picture."""
        return self.shows_videos and len(call.frames) > 1

    def tensors(self, calls: Sequence[Call], prompts: Sequence[str]) -> Any:
        """Return the processor's tensors of calls with one question each.

        All are of one form, and videos of one length: SmolVLM's processor tells every video of a
        batch the length of the longest. Raises what the processor raises.
        """
        if self.is_chat and self.is_video(calls[0]):
            shown = self._videos(calls)
            texts = [self._chat([{"type": "video"}], prompt) for prompt in prompts]
        elif self.is_chat:
            shown = {"images": [_pictures(call) for call in calls], **self._picture_sizes()}
            texts = [
                self._chat(_labelled(call), prompt)
                for call, prompt in zip(calls, prompts, strict=True)
            ]
        else:
            shown = {"images": [picture for call in calls for picture in _pictures(call)]}
            texts = list(prompts)
        return self.processor(text=texts, padding=True, return_tensors="pt", **shown)

    def _chat(self, content: list[dict[str, str]], prompt: str) -> str:
        turn = {"role": "user", "content": [*content, {"type": "text", "text": prompt}]}
        return rendered(
            self.processor, [turn], name=self._name, add_generation_prompt=True, **self._thinking
        )

    def _has_videos(self, wanted: FramesAs) -> bool:
        """Return whether videos are shown. Raises ConfigError where they cannot be, but must."""
        reason = self._why_no_videos()
        if wanted == "video" and reason:
            raise ConfigError(
                f"frames_as is 'video'; allowed for {self._name}: pictures ({reason})"
            )
        return wanted != "pictures" and not reason

    def _why_no_videos(self) -> str:
        kinds = [kind.__name__ for kind in type(self.processor).__mro__]
        if not any(kind in WITH_TIMES for kind in kinds):
            return "its processor has no form for videos with times"
        if not self.is_chat:
            return "it has no chat template"
        try:
            text = self._chat([{"type": "video"}], "")
        except ModelError as error:
            return f"its chat template knows no videos: {error}"
        found = text.count(self.processor.video_token)
        return "" if found == 1 else "its chat template shows no video"

    def _videos(self, calls: Sequence[Call]) -> dict[str, Any]:
        """Return the arguments for one video a call, with each frame's time since its beginning.

        Where a model folds neighbouring frames into the same tokens, each frame is given as often
        as are folded: kept frames are unlike each other, and would be blended.
        """
        from transformers.video_utils import VideoMetadata

        times = getattr(self.processor.video_processor, "temporal_patch_size", 1)
        videos, metadata = [], []
        for call in calls:
            ticks = [round((f.time_s - call.start_s) * TICKS_PER_S) for f in call.frames]
            videos.append([one for one in _pictures(call) for _ in range(times)])
            duration_s = call.end_s - call.start_s
            metadata.append(
                VideoMetadata(
                    total_num_frames=round(duration_s * TICKS_PER_S), fps=TICKS_PER_S,
                    duration=duration_s, frames_indices=[t for t in ticks for _ in range(times)],
                )
            )  # fmt: skip
        return {
            "videos": videos, "video_metadata": metadata, "do_sample_frames": False,
            **self._video_sizes(),
        }  # fmt: skip

    def _picture_sizes(self) -> dict[str, Any]:
        """Return what keeps pictures whole, at the size that the model sees.

        A processor that can cut tiles would blow each picture up for them even without tiles.
        """
        images = getattr(self.processor, "image_processor", None)
        if not hasattr(images, "do_image_splitting"):
            return {}
        if self._split_images:
            return {"do_image_splitting": True}
        return {"do_image_splitting": False} | _largest(images)

    def _video_sizes(self) -> dict[str, Any]:
        """Return the same for videos; Qwen's cap per frame is asked for, as its makers have it."""
        videos = self.processor.video_processor
        if hasattr(videos, "cap_pixels_per_frame"):
            return {"cap_pixels_per_frame": True}
        return _largest(videos)


def spread(frames: Sequence[Any], most: int) -> list[Any]:
    """Return at most `most` frames, evenly spread, first and last among them.

    >>> spread(list(range(10)), 4)
    [0, 3, 6, 9]
    """
    if len(frames) <= most:
        return list(frames)
    if most == 1:
        return [frames[len(frames) // 2]]
    return [frames[round(at * (len(frames) - 1) / (most - 1))] for at in range(most)]


def _largest(processor: Any) -> dict[str, Any]:
    """Return the size to which SmolVLM's processors reduce pictures at last: the first one, too."""
    longest = (getattr(processor, "max_image_size", None) or {}).get("longest_edge")
    return {"size": {"longest_edge": longest}} if longest else {}


def _labelled(call: Call) -> list[dict[str, str]]:
    """Return a chat's content: number and time before each picture, where there are several."""
    content: list[dict[str, str]] = []
    for number, frame in enumerate(call.frames, start=1):
        if len(call.frames) > 1:
            content.append({"type": "text", "text": picture_label(number, frame)})
        content.append({"type": "image"})
    return content


def _pictures(call: Call) -> list[Any]:
    return [_picture(frame.image) for frame in call.frames]


def _picture(image: Image) -> Any:
    from PIL import Image as Pillow

    return Pillow.fromarray(image)

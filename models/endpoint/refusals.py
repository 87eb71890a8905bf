"""What a server means by an error: its status and words become the error to raise. Sends nothing.

Servers share no codes: the words are all there is. Those here come from users' reports and
from memory; no real server was asked.
"""

from __future__ import annotations

import re

from fdvs.errors import ModelError, ModelUnavailable

# parameters that some servers refuse, and what to send instead, "" for nothing
REFUSABLE = {
    "max_tokens": "max_completion_tokens", "temperature": "", "chat_template_kwargs": "",
    "reasoning_effort": "", "think": "", "truncate": "",
}  # fmt: skip
#: left out, one after the other, where a server refuses a request and does not say why
SPARE = ("reasoning_effort", "chat_template_kwargs")
NAMELESS = re.compile(r"contains an invalid argument|^\W*bad request\W*$", re.IGNORECASE)

_HOPELESS = re.compile(
    r"image input|mmproj|does not support (?:image|vision)|not (?:a )?multimodal|no vision"
    r"|vision add-on|image_url is only supported|at most 0 image|images? (?:is|are) not supported"
    r"|more system memory|out of memory|insufficient (?:memory|system resources)"
    r"|insufficient_quota",
    re.IGNORECASE,
)
_TOO_MUCH = re.compile(
    r"context (?:length|size|window)|exceed_context_size|context_length_exceeded|token count"
    r"|prompt is too long|input tokens exceed|single image|only one image|too many images"
    r"|fewer images|at most \d+ image",
    re.IGNORECASE,
)
_NUM_IMAGES = re.compile(
    r"(?:at most|max(?:imum)?(?: is)?) (\d{1,3})(?: image|\W*$|\W)|(single|only one) image",
    re.IGNORECASE,
)
_ABOUT_IMAGES = re.compile(r"image", re.IGNORECASE)
_LOADING = re.compile(r"loading model|model is (?:still )?loading|warming up", re.IGNORECASE)


class TooMuch(ModelError):
    """A request is longer than a server takes; `num_pictures` is how many it takes, 0 for fewer."""

    def __init__(self, message: str, *, num_pictures: int = 0) -> None:
        super().__init__(message)
        self.num_pictures = num_pictures


def told_error(words: str, *, where: str, model: str) -> ModelError | None:
    """Return the error that a server's words mean, None where they say nothing known."""
    if _HOPELESS.search(words):
        return ModelUnavailable(f"{where}: {model!r} cannot do this: {words}")
    if _TOO_MUCH.search(words):
        advice = "raise the server's context, or ask about fewer pictures (frames_per_call)"
        return TooMuch(
            f"{where}: too much for {model!r}: {words}; {advice}", num_pictures=_num_images(words)
        )
    return None


def is_loading(words: str) -> bool:
    """Whether a server says that it is not ready yet."""
    return bool(_LOADING.search(words))


def _num_images(words: str) -> int:
    found = _NUM_IMAGES.search(words) if _ABOUT_IMAGES.search(words) else None
    if found is None:
        return 0
    return 1 if found.group(2) else int(found.group(1))

"""Which captioner `perceive.captioner: auto` is: what this machine has, decided once for a library.

A model server that runs here comes first, then a GPU, else the processor. The choice becomes a
setting of the library, so that a server which is off one day does not describe every video anew.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection
from dataclasses import dataclass, replace

from fdvs.config import Config
from fdvs.errors import FdvsError
from fdvs.models.weights.hub import size_text

AUTO = "auto"
ON_CPU, ON_GPU = "smolvlm2-500m-video", "qwen3-vl-2b"
# Weights of 4.3 GB, and batches beside them.
MIN_GPU_BYTES = 7_500_000_000
#: `0`: model servers of this machine are not looked for.
SERVERS_VARIABLE = "FDVS_LOCAL_SERVERS"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """A captioner's spec, and why it is this one."""

    spec: str
    reason: str


def with_captioner(
    config: Config, stored: Config | None = None, own: Collection[str] = ()
) -> Config:
    """Return settings that name a captioner instead of `auto`.

    `stored` are those of a library that exists: it keeps its captioner where the preset stays.
    `own` are the names of models that a caller brings.
    """
    if config.perceive.captioner != AUTO:
        return config
    if stored is not None and stored.preset == config.preset:
        choice = Choice(stored.perceive.captioner, "the library's")
    elif "captioner" in own:
        choice = Choice(ON_CPU, "another one is given")
    else:
        choice = best_captioner()
    logger.info("captioner: %s (%s)", choice.spec, choice.reason)
    return replace(config, perceive=replace(config.perceive, captioner=choice.spec))


def best_captioner() -> Choice:
    """Return the captioner for this machine; asks its model servers on the loopback."""
    if server := _server():
        return server
    num_bytes, name = _gpu()
    if num_bytes >= MIN_GPU_BYTES:
        return Choice(ON_GPU, f"{name} with {size_text(num_bytes)}")
    if name:
        return Choice(ON_CPU, f"{name} has {size_text(num_bytes)}, too little for {ON_GPU}")
    return Choice(ON_CPU, "no model server and no GPU found")


def _server() -> Choice | None:
    """Return a model of a running server that sees pictures."""
    if os.environ.get(SERVERS_VARIABLE) == "0":
        return None
    from fdvs.models.endpoint.local_servers import local_servers

    for server in local_servers():
        if server.seeing:
            spec = f"{server.dialect}:{server.seeing[0]}"
            return Choice(spec, f"{server.dialect} runs on this machine")
    return None


def _gpu() -> tuple[int, str]:
    """Return memory and name of the GPU that `models.device: auto` takes; 0 and "" without one."""
    try:
        from fdvs.models.weights.loading import choose_device, needs

        torch = needs("torch", "local")
        device, _ = choose_device(AUTO)
    except FdvsError:
        return 0, ""
    if device == "cuda":
        found = torch.cuda.get_device_properties(0)
        return int(found.total_memory), str(found.name)
    if device == "mps":
        return int(torch.mps.recommended_max_memory()), "an Apple GPU"
    return 0, ""

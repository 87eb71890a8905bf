"""One thread for work made of many small steps on a CPU.

Every small torch operation on several threads ends in a barrier; on a machine with anything else
to do, each barrier can cost a slice of the scheduler, thousands of times the work itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def one_thread(device: torch.device, *, unless: bool = False) -> Iterator[None]:
    """Run a block on one thread if it runs on a CPU, `unless` told otherwise; then restore."""
    before = torch.get_num_threads()
    if unless or device.type != "cpu" or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

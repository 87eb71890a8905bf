"""Keep a server's places full: as many threads as it answers at once, each asking about one clip.

A finished clip is replaced at once. Asked batch by batch, a server idles until the slowest clip of
a batch is done.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from fdvs.stopping import carried


def in_places(work: Callable[[], None], *, num: int, name: str) -> None:
    """Run `work` in `num` threads until all have ended. Raises the first error of any, then."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    start = carried(run)
    threads = [
        threading.Thread(target=start, name=f"fdvs-{name}-{place}", daemon=True)
        for place in range(num)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]

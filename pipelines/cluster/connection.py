"""Which Ray cluster a build uses, how many workers, and the connection to it."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fdvs.errors import ConfigError, InvalidValue, ModelUnavailable

CORES_A_WORKER = 2
NEED_RAY = "workers need Ray; install it: ./scripts/install --with ray"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayConnection:
    """How many workers, where. Without an address, Ray is started on this machine for the build.

    Attributes:
        address: of a running cluster, such as `auto` or `10.0.0.1:6379`; it must ask for a token.
        num_workers: 0 for one a GPU, else one for every `num_cpus_per_worker` cores.
        num_cpus_per_worker: cores that Ray reserves for a worker; its threads are as many.
        num_gpus_per_worker: may be a part, such as 0.5.
    """

    address: str = ""
    num_workers: int = 0
    num_cpus_per_worker: float = CORES_A_WORKER
    num_gpus_per_worker: float = 0.0

    def __post_init__(self) -> None:
        for name in ("num_workers", "num_cpus_per_worker", "num_gpus_per_worker"):
            if getattr(self, name) < 0:
                raise InvalidValue(name, getattr(self, name), "0 or more")

    def connect(self) -> bool:
        """Connect to Ray, or start it here; return whether it was started.

        Raises ModelUnavailable without the package, ConfigError without a token or a cluster.
        """
        if find_spec("ray") is None:
            raise ModelUnavailable(NEED_RAY)
        self._require_token()
        import ray

        if ray.is_initialized():
            return False
        given: dict[str, Any] = {"address": self.address} if self.address else _local()
        try:
            ray.init(logging_level=logging.ERROR, log_to_driver=False, **given)
        except (ConnectionError, RuntimeError, ValueError) as error:
            where = self.address or "this machine"
            raise ConfigError(
                f"no Ray cluster at {where}: {' '.join(str(error).split())}"
            ) from error
        return True

    def _require_token(self) -> None:
        """Ray listens to the network even where it is told not to, so it must ask for a token."""
        mode = os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
        if mode != "token" or (self.address and not _has_token()):
            raise ConfigError(
                f"RAY_AUTH_MODE is {mode}, with {'a' if _has_token() else 'no'} token; whoever "
                "reaches a cluster can run programs there: start its nodes with "
                "RAY_AUTH_MODE=token, and set that and RAY_AUTH_TOKEN_PATH here, too"
            )

    def size(self) -> int:
        """Return how many workers the connected cluster has room for, or those that were asked."""
        import ray

        if self.num_workers:
            return self.num_workers
        found = ray.cluster_resources()  # type: ignore[no-untyped-call]
        if self.num_gpus_per_worker:
            return max(1, int(found.get("GPU", 0) / self.num_gpus_per_worker))
        return max(1, int(found.get("CPU", 1) / max(self.num_cpus_per_worker, 0.01)))


def _local() -> dict[str, Any]:
    return {
        "address": "local",
        "include_dashboard": False,
        "_node_ip_address": "127.0.0.1",
        "num_cpus": max(os.cpu_count() or 1, CORES_A_WORKER),
    }


def _has_token() -> bool:
    given = os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(given) or (Path.home() / ".ray" / "auth_token").is_file()

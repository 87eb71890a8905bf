"""Build with workers on a Ray cluster: `Library.build(..., engine=RayEngine())`.

Files must be visible to all workers under the same path; the library needs a local disk.
"""

from __future__ import annotations

from fdvs.pipelines.build.context import BuildContext
from fdvs.pipelines.cluster.connection import RayConnection
from fdvs.pipelines.cluster.driver import RayBuilder
from fdvs.report import Watcher
from fdvs.store.store import Store


class RayEngine(RayConnection):
    """Builds with workers; see `RayConnection` for how many, and where."""

    def builder(self, store: Store, context: BuildContext, watch: Watcher) -> RayBuilder:
        """Return what builds a library with these workers."""
        return RayBuilder(store, context, watch, connection=self)

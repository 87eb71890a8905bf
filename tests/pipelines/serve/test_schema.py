"""The REST API against its own description: schemathesis finds nothing in what it makes up."""

from __future__ import annotations

from typing import Any

import pytest

schemathesis = pytest.importorskip("schemathesis")

from fdvs.pipelines.library import Library  # noqa: E402
from fdvs.pipelines.serve import limits  # noqa: E402
from fdvs.pipelines.serve.app import guarded, make_app  # noqa: E402
from fdvs.pipelines.serve.engine import Doors  # noqa: E402

TOKEN = "a-token-of-these-tests"
# where values are refused for what others are: no description of parameters can say that
TOGETHER = {
    "GET /api/v1/search": "kind=videos takes no limits; end_s is after start_s",
    "GET /api/v1/videos/{video}/clip.mp4": "end is after start, and both within the video",
}
NUM_EXAMPLES = 4  # of each operation, besides the edges of every parameter


def findings(schema: Any) -> tuple[dict[str, str], int]:
    """Run all that schemathesis does; return what it complains of, and the number of requests."""
    from schemathesis.engine import events, from_schema

    found: dict[str, str] = {}
    num = 0
    for event in from_schema(schema).execute():
        if isinstance(event, (events.NonFatalError, events.FatalError)):
            found[f"error {event}"] = repr(getattr(event, "value", None) or event.exception)
        if not isinstance(event, events.ScenarioFinished):
            continue
        num += len(event.recorder.interactions)
        for case, checks in event.recorder.checks.items():
            label = event.recorder.cases[case].value.operation.label
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info
                    if check.name == "positive_data_acceptance" and label in TOGETHER:
                        continue
                    key = f"{label} {check.name}"
                    found[key] = f"{failure.failure} {failure.code_sample}"
    return found, num


@pytest.mark.slow
def test_what_is_described_is_what_happens(
    library: Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "BURST", 1e9)  # the rate has a test of its own
    app = make_app(library, Doors(is_read_only=True))
    guard = guarded(app, token=TOKEN, port=80)
    headers = {"Authorization": f"Bearer {TOKEN}", "Host": "127.0.0.1:80"}
    place = "/api/v1/openapi.json"
    schema = schemathesis.openapi.from_asgi(place, guard, headers=headers)
    schema.config.update(headers=headers)
    schema.config.generation.update(max_examples=NUM_EXAMPLES, deterministic=True, no_shrink=True)
    found, num = findings(schema)
    assert num > 100
    assert found == {}

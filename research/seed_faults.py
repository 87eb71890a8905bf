"""Plant one fault at a time in a copy of the code and see that a test catches it.

    python research/seed_faults.py [NAME ...]

Exits 1 where a fault survives its tests, where its text is no longer in the code, or where its
tests fail without it: such a fault proves nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROLES = ("models", "kernels", "datasets", "pipelines")


@dataclass(frozen=True, slots=True)
class Fault:
    """Replace `old` (found once in `file`) by `new`; `tests` must then fail."""

    name: str
    file: str
    old: str
    new: str
    tests: str


FAULTS = (
    Fault(
        "an item as similar as the mean is dropped",
        "fdvs/redundancy/rules.py",
        "steps * len(steps) <= steps.sum()",
        "steps * len(steps) < steps.sum()",
        "tests/core/redundancy/test_rules.py",
    ),
    Fault(
        "a chapter is in its own memory",
        "fdvs/redundancy/rules.py",
        "until = here + 1 if include_self else here",
        "until = here + 1",
        "tests/core/redundancy/test_chapters.py",
    ),
    Fault(
        "the frame before the one asked for",
        "fdvs/media/pyav_reader.py",
        "if following is None or following.ticks > target:",
        "if following is None or following.ticks >= target:",
        "tests/core/media/test_reader_exact.py",
    ),
    Fault(
        "key frames close together are not merged",
        "fdvs/media/clips.py",
        "if bound_s - kept_s[-1] >= min_s - _SLACK_S:",
        "if bound_s > kept_s[-1]:",
        "tests/core/media/test_clips.py",
    ),
    Fault(
        "any container is opened",
        "fdvs/media/pyav_input.py",
        '"format_whitelist": FORMATS',
        '"fflags": "nobuffer"',
        "tests/core/media/test_reader_bad_files.py",
    ),
    Fault(
        "a transaction is not committed",
        "fdvs/store/store.py",
        'self._connection.execute("COMMIT")',
        'self._connection.execute("ROLLBACK")',
        "tests/core/store/test_store.py",
    ),
    Fault(
        "any word of a query counts as all of them",
        "fdvs/search/fulltext.py",
        'joined_by="AND"',
        'joined_by="OR"',
        "tests/core/search/test_fulltext.py",
    ),
    Fault(
        "evidence by rank instead of time",
        "fdvs/types.py",
        "key=lambda span: (videos.index(span.video_id), span.start_s)",
        "key=lambda span: (videos.index(span.video_id), -getattr(span, 'score', 0.0))",
        "tests/core/answers/test_answer.py",
    ),
    Fault(
        "other pictures are not a change",
        "pipelines/build/fingerprints.py",
        "        times_s=list(times_s),\n",
        "",
        "tests/pipelines/build/test_build.py",
    ),
    Fault(
        "work before a failure is thrown away",
        "pipelines/build/builder.py",
        "        if task.results:\n",
        "        if task.results and not job.failed:\n",
        "tests/pipelines/build/test_build.py",
    ),
    Fault(
        "reading runs ahead without bound",
        "pipelines/build/overlap.py",
        "queue.Queue(maxsize=num_ahead)",
        "queue.Queue()",
        "tests/pipelines/build/test_overlap.py",
    ),
    Fault(
        "a server's failure is final",
        "models/endpoint/client.py",
        "if status in (408, 429) or status >= 500:",
        "if status in (408, 429):",
        "tests/models/endpoint/test_endpoint.py",
    ),
    Fault(
        "names may hold escape sequences",
        "fdvs/text/clean.py",
        'return "" if kind == "Cc" else char',
        "return char",
        "tests/pipelines/cli",
    ),
    Fault(
        "an old gain is believed",
        "fdvs/redundancy/cover.py",
        "        if queue and (-gain, item) > queue[0]:\n",
        "        if False:\n",
        "tests/core/redundancy/test_cover.py",
    ),
    Fault(
        "a repetition judges by its mean",
        "kernels/dga/rereading.py",
        ".amax(2).exp()",
        ".mean(2).exp()",
        "tests/kernels/test_dga_rereading.py",
    ),
    Fault(
        "units that came early may be cropped",
        "kernels/dga/layer_cache.py",
        "return max(by_time, early, unseen)",
        "return max(by_time, unseen)",
        "tests/kernels/test_dga_rereading.py",
    ),
    Fault(
        "evicted tokens may be read after a crop",
        "kernels/dga/layer_cache.py",
        "return max(by_time, early, unseen)",
        "return max(by_time, early)",
        "tests/kernels/test_dga_cache.py",
    ),
    Fault(
        "budgets by what is kept",
        "kernels/dga/budgets.py",
        "ranked_BKnC[..., count:]",
        "ranked_BKnC[..., :count]",
        "tests/kernels/test_dga_budgets.py",
    ),
    Fault(
        "the lead runs into the passage",
        "models/llm/rereading.py",
        "lead_L = ids_L[max(0, passage.start - LEAD_TOKENS) : passage.start]",
        "lead_L = ids_L[max(0, passage.start - LEAD_TOKENS) : passage.start + 1]",
        "tests/models/llm/test_rereading.py",
    ),
)

PASSING: set[str] = set()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="faults whose name holds one of these words")
    words = parser.parse_args().names
    chosen = [f for f in FAULTS if not words or any(word in f.name for word in words)]
    with tempfile.TemporaryDirectory() as folder:
        survivors = [fault.name for fault in chosen if not is_caught(fault, Path(folder))]
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} faults caught")
    sys.exit(1 if survivors or not chosen else 0)


def is_caught(fault: Fault, folder: Path) -> bool:
    """Plant a fault in a fresh copy and run its tests there, first without it."""
    copy = fresh_copy(folder)
    if fault.tests not in PASSING and run_tests(copy, fault.tests) != 0:
        print(f"CANNOT JUDGE  {fault.name}: {fault.tests} fails without it")
        return False
    PASSING.add(fault.tests)
    code = (copy / fault.file).read_text("utf-8")
    if code.count(fault.old) != 1:
        print(f"CANNOT PLANT  {fault.name}: {code.count(fault.old)} places in {fault.file}")
        return False
    (copy / fault.file).write_text(code.replace(fault.old, fault.new), "utf-8")
    status = run_tests(copy, fault.tests)
    # 1 is pytest's word for failed tests; anything else is a fault of the setup
    print(f"{'caught  ' if status == 1 else f'SURVIVED ({status})'}  {fault.name}", flush=True)
    return status == 1


def fresh_copy(folder: Path) -> Path:
    """Copy what tests need, the package's links as links."""
    copy = folder / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    for name in ("fdvs", *ROLES, "tests", "scripts"):
        shutil.copytree(ROOT / name, copy / name, symlinks=True)
    shutil.copy(ROOT / "pyproject.toml", copy)
    (copy / "link").mkdir()
    (copy / "link" / "fdvs").symlink_to(copy / "fdvs")
    return copy


def run_tests(copy: Path, tests: str) -> int:
    """Run tests against the copy's code: a link named fdvs goes before the installed package."""
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", tests]
    environment = {**os.environ, "PYTHONPATH": str(copy / "link")}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
    return done.returncode


if __name__ == "__main__":
    main()

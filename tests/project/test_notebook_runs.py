"""The example notebook, cell by cell as a kernel would run it; without a kernel or a network."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"
END = """
import json
print(json.dumps({
    "failed": report.num_failed, "found": found[0].text, "answer": answer.text,
    "like": [like[0].start_s, like[0].end_s], "shown": shown,
}))
"""


def cells() -> list[str]:
    value = json.loads(NOTEBOOK.read_text("utf-8"))
    assert (value["nbformat"], value["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in value["cells"]}) == len(value["cells"])
    code = [cell for cell in value["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    return ["".join(cell["source"]) for cell in code]


def showing(source: str) -> str:
    """Return a cell that also shows the value of its last line, if that can be shown."""
    tree = ast.parse(source)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        return source
    tree.body.pop()
    value = ast.unparse(last.value)
    show = f"shown += [v._repr_html_() for v in [{value}] if hasattr(v, '_repr_html_')]"
    return f"{ast.unparse(tree)}\n{show}"


def test_the_notebook_runs(tmp_path: Path, needs_models: None) -> None:
    program = tmp_path / "notebook.py"
    program.write_text("\n".join(["shown = []", *map(showing, cells()), END]), "utf-8")
    done = subprocess.run(
        [sys.executable, program.name], cwd=tmp_path, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["shown"]) == 5
    assert all("data:image/jpeg;base64," in one for one in found["shown"])
    assert found["failed"] == 0
    assert "grinds grain" in found["found"]
    assert found["like"] == [12.0, 18.0]
    assert "new moon and full moon" in found["answer"]

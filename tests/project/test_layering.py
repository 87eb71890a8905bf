"""Imports go one way: kernels < core < models, datasets < pipelines < scripts, research, tests."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("models", "kernels", "datasets", "pipelines")
CORE = "core"

# What a layer may import of fdvs; `core` is what lies in fdvs/ itself.
ALLOWED = {
    "kernels": {"kernels"},
    CORE: {"kernels", CORE},
    "models": {"kernels", CORE, "models"},
    "datasets": {CORE, "datasets"},
    "pipelines": {"kernels", CORE, "models", "datasets", "pipelines"},
}
# What a room of the core may import beside itself; `base` are the modules in fdvs/ itself.
_BELOW = {"base", "text"}
_SOURCES = _BELOW | {"media", "prompting", "redundancy", "store"}
CORE_ROOMS: dict[str, set[str]] = {
    "base": set(),
    "text": {"base"},
    "metrics": _BELOW,
    "media": _BELOW,
    "prompting": _BELOW,
    "redundancy": _BELOW,
    "store": _BELOW,
    "story": _SOURCES,
    "search": _SOURCES | {"story"},
    "answers": _SOURCES | {"story", "search"},
}
#: What a server or a notebook uses, too, knows nothing of the command line and its tables.
NEVER_SHOW = (
    *("pipelines", "pipelines/build", "pipelines/ask", "pipelines/evaluation"),
    *("pipelines/exports", "pipelines/serve", "pipelines/cluster"),
)
# The core knows tensors, decoders and indexes, not the packages that models come from.
NOT_IN_CORE = {
    "accelerate", "faster_whisper", "gguf", "open_clip", "peft", "rapidocr_onnxruntime",
    "sentence_transformers", "timm", "tokenizers", "transformers",
}  # fmt: skip
IN_KERNELS = {"torch", "triton", "numpy", "safetensors", "fdvs"}
# Never while a module is being imported: only inside the function or class that needs them.
HEAVY = {
    "accelerate", "av", "cv2", "decord", "faster_whisper", "gguf", "imageio_ffmpeg",
    "open_clip", "peft", "rapidocr_onnxruntime", "ray", "scenedetect", "sentence_transformers",
    "timm", "torch", "torchvision", "transformers", "triton",
}  # fmt: skip
# Of the page and the agents' tools: nothing else may need them.
SERVER = {"fastapi", "jinja2", "mcp", "pydantic", "starlette", "uvicorn", "watchfiles"}
# These are the tensor code itself: who imports one of them needs torch at once.
TORCH_MODULES_MAY_IMPORT = {"torch", "triton"}


def files_of(layer: str) -> list[Path]:
    if layer == CORE:
        found = (ROOT / "fdvs").rglob("*.py")
        return sorted(
            path for path in found if path.relative_to(ROOT / "fdvs").parts[0] not in ROLES
        )
    return sorted((ROOT / layer).rglob("*.py"))


def module_name(path: Path) -> str:
    inside = path.relative_to(ROOT).with_suffix("")
    parts = inside.parts if inside.parts[0] == "fdvs" else ("fdvs", *inside.parts)
    return ".".join(part for part in parts if part != "__init__")


def imports(tree: ast.AST, path: Path) -> Iterator[str]:
    """Yield every imported module's full name; `from a import b` gives a and a.b."""
    package = module_name(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], base]).rstrip(".")
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def layer_of(module: str) -> str | None:
    """Return the layer of a module of fdvs; None for the bare package and foreign modules."""
    parts = module.split(".")
    if parts[0] != "fdvs" or len(parts) == 1:
        return None
    if parts[1] in ROLES:
        return parts[1]
    # `from fdvs import Library` names an attribute of the package, not a file of the core.
    place = ROOT / "fdvs" / parts[1]
    is_core = place.is_dir() or place.with_suffix(".py").is_file()
    return CORE if is_core else None


def upward_imports(layer: str) -> list[str]:
    found = []
    for path in files_of(layer):
        tree = ast.parse(path.read_text("utf-8"))
        if path == ROOT / "fdvs" / "__init__.py":
            # The public surface names its homes for type checkers only (tests/test_public_api.py).
            tree.body = [node for node in tree.body if not is_for_types(node)]
        for module in imports(tree, path):
            target = layer_of(module)
            if target is not None and target not in ALLOWED[layer]:
                found.append(f"{path.relative_to(ROOT)} imports {module}")
    return found


def is_for_types(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def at_import(tree: ast.Module) -> Iterator[ast.stmt]:
    """Yield the statements that run on import, without blocks that only type checkers read."""
    pending: list[ast.stmt] = list(tree.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if isinstance(node, ast.If) and is_for_types(node):
            pending += node.orelse
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            pending += getattr(node, field, [])
        for handler in getattr(node, "handlers", []):
            pending += handler.body


def roots_at_import(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    found: set[str] = set()
    for node in at_import(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add((node.module or "").split(".")[0])
    return found


def room_of(module: str) -> str | None:
    """Return the room of a module: "text" for fdvs.text.clean, "pipelines/build" and so on.

    "base" are the modules that lie in fdvs/ itself, "pipelines" those that lie in pipelines/.
    """
    parts = module.split(".")
    if parts[0] != "fdvs" or len(parts) == 1:
        return None
    if parts[1] in ROLES:
        has_room = len(parts) > 2 and (ROOT / parts[1] / parts[2]).is_dir()
        return "/".join(parts[1:3]) if has_room else parts[1]
    return parts[1] if (ROOT / "fdvs" / parts[1]).is_dir() else "base"


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text("utf-8"))
    if path == ROOT / "fdvs" / "__init__.py":
        tree.body = [node for node in tree.body if not is_for_types(node)]
    return {room for module in imports(tree, path) if (room := room_of(module)) is not None}


@pytest.mark.parametrize("layer", ALLOWED)
def test_every_room_says_what_it_is(layer: str) -> None:
    """In the docstring of its `__init__.py`."""
    rooms = [path for path in files_of(layer) if path.name == "__init__.py"]
    assert rooms
    silent = [path for path in rooms if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert silent == []


def test_every_room_of_the_core_has_its_floor() -> None:
    rooms = {room_of(module_name(path)) for path in files_of(CORE)} - {None}
    assert rooms == set(CORE_ROOMS)


@pytest.mark.parametrize("room", CORE_ROOMS)
def test_rooms_of_the_core_import_one_way(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in files_of(CORE)
        if room_of(module_name(path)) == room
        for other in sorted(imported_rooms(path) - CORE_ROOMS[room] - {room, "kernels/dga"})
    ]
    assert found == []


@pytest.mark.parametrize("room", NEVER_SHOW)
def test_services_never_import_the_command_line(room: str) -> None:
    found = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path in files_of("pipelines")
        if room_of(module_name(path)) == room
        for other in sorted(imported_rooms(path) & {"pipelines/cli", "pipelines/show"})
    ]
    assert found == []


def test_no_module_imports_itself_in_a_circle() -> None:
    """Imports inside functions count too: a circle is a circle when it runs."""
    arrows = {}
    for layer in ALLOWED:
        for path in files_of(layer):
            tree = ast.parse(path.read_text("utf-8"))
            if path == ROOT / "fdvs" / "__init__.py":
                continue  # the public surface, filled on use
            tree.body = [node for node in tree.body if not is_for_types(node)]
            arrows[module_name(path)] = set(imports(tree, path))
    arrows = {name: found & set(arrows) - {name} for name, found in arrows.items()}
    while leaves := [name for name, found in arrows.items() if not found]:
        for leaf in leaves:
            del arrows[leaf]
        arrows = {name: found - set(leaves) for name, found in arrows.items()}
    for name in list(arrows):  # what only leads into a circle is not in one
        if not any(name in found for found in arrows.values()):
            del arrows[name]
    assert arrows == {}


@pytest.mark.parametrize("layer", ALLOWED)
def test_imports_go_one_way(layer: str) -> None:
    assert files_of(layer), f"no files in layer {layer}"
    assert upward_imports(layer) == []


@pytest.mark.parametrize("layer", [*ALLOWED, "scripts", "research", "tests"])
def test_role_folders_are_imported_through_the_package_only(layer: str) -> None:
    """`from models...` would load a second copy of every class, `datasets` may be another's."""
    found = []
    for path in files_of(layer):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module or ""]
            found += [f"{path}: {name}" for name in names if name.split(".")[0] in ROLES]
    assert found == []


def test_the_core_knows_no_model_package() -> None:
    found = []
    for path in files_of(CORE):
        for module in imports(ast.parse(path.read_text("utf-8")), path):
            if module.split(".")[0] in NOT_IN_CORE:
                found.append(f"{path.name} imports {module}")
    assert found == []


def test_kernels_need_only_torch() -> None:
    allowed = IN_KERNELS | set(sys.stdlib_module_names)
    found = []
    for path in files_of("kernels"):
        for module in imports(ast.parse(path.read_text("utf-8")), path):
            if module.split(".")[0] not in allowed:
                found.append(f"{path.relative_to(ROOT)} imports {module}")
    assert found == []


@pytest.mark.parametrize("layer", [CORE, "models", "datasets", "pipelines"])
def test_heavy_packages_are_imported_inside_what_needs_them(layer: str) -> None:
    found = []
    for path in files_of(layer):
        heavy = roots_at_import(path) & HEAVY
        # A module of the models' layer may be tensor code from end to end: it is itself imported
        # on use. The core and the pipelines are imported by the command line.
        if layer == "models":
            heavy -= TORCH_MODULES_MAY_IMPORT
        if heavy:
            found.append(f"{path.relative_to(ROOT)}: {', '.join(sorted(heavy))}")
    assert found == []


def test_the_rules_catch_an_upward_import(tmp_path: Path) -> None:
    tree = ast.parse("from fdvs.pipelines.build import builder\nimport fdvs.models.cards")
    seen = {layer_of(module) for module in imports(tree, ROOT / "fdvs" / "types.py")}
    assert {"pipelines", "models"} <= seen


def test_imports_in_functions_and_for_types_do_not_run_on_import(tmp_path: Path) -> None:
    path = tmp_path / "some.py"
    path.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import torch\n"
        "def use():\n    import av\n"
        "try:\n    import av\nexcept ImportError:\n    import cv2\n"
        "class A:\n    import timm\n"
    )
    assert roots_at_import(path) == {"typing", "av", "cv2", "timm"}


# Not `tests`: pytest's importlib mode itself makes such a module for the files that it collects.
@pytest.mark.parametrize("name", [*ROLES, "scripts"])
def test_no_folder_answers_for_a_package(name: str) -> None:
    """Absent is fine, another's package is fine, our folder is not."""
    spec = importlib.util.find_spec(name)
    places = [] if spec is None else [spec.origin or "", *(spec.submodule_search_locations or [])]
    assert not any(Path(place).is_relative_to(ROOT) for place in places if place)


@pytest.mark.parametrize("role", ROLES)
def test_the_links_for_editors_point_to_the_role_folders(role: str) -> None:
    link = ROOT / "fdvs" / role
    assert link.is_symlink()
    assert link.resolve() == ROOT / role


def test_help_imports_nothing_heavy() -> None:
    """Seconds depend on the machine; what is imported does not."""
    program = (
        "import sys\n"
        "from fdvs.pipelines.cli.main import run\n"
        "assert run(['--help']) == 0\n"
        "assert run(['build', '--help']) == 0\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stderr.split())
    assert "typer" in loaded
    assert loaded & (HEAVY | SERVER | {"numpy", "PIL", "httpx", "scipy", "sklearn"}) == set()


def test_a_library_imports_nothing_of_a_server() -> None:
    program = (
        "import sys, fdvs, fdvs.pipelines.library, fdvs.pipelines.results\n"
        "import fdvs.answers.answer, fdvs.search.index, fdvs.store.store, fdvs.story\n"
        "import fdvs.pipelines.exports.formats, fdvs.pipelines.ask.asker\n"
        "print(*sorted(sys.modules))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = done.stdout.split()
    assert "fdvs.pipelines.library" in loaded
    assert {name.partition(".")[0] for name in loaded} & SERVER == set()
    assert [name for name in loaded if name.startswith("fdvs.pipelines.serve")] == []

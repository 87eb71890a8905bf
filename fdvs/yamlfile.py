"""YAML of others as plain values: mappings, lists, texts, numbers, truth values and null.

A file of a kilobyte may stand for gigabytes (aliases), nest without end, hold numbers that Python
refuses, or a key twice. Everything is bounded before values are made, each fault is one ConfigError
with its line, and no tag ever makes an object. Knows no setting.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from fdvs.errors import ConfigError
from fdvs.excerpts import shortened, shown
from fdvs.files import read_regular

MAX_BYTES = 1 << 18
MAX_DEPTH = 24
MAX_VALUES = 20_000
MAX_NUMBER_CHARS = 64

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_NUMBERS = (f"{_TAG}int", f"{_TAG}float")
_PLAIN = {f"{_TAG}{kind}" for kind in ("map", "seq", "str", "int", "float", "bool", "null")}


def read_yaml(path: Path, *, max_bytes: int = MAX_BYTES) -> Any:
    """Return the value of a YAML file; None where it is empty. Raises ConfigError.

    Pipes, devices and folders are refused without waiting; larger files are not read.
    """
    try:
        data = read_regular(path, max_bytes=max_bytes)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    return parse_yaml(data, where=str(path))


def parse_yaml(data: bytes, *, where: str) -> Any:
    """Return the value of YAML text in UTF-8. Raises ConfigError, which begins with `where`."""
    try:
        loader = _Loader(data.decode("utf-8-sig"))
        root = loader.get_single_node()
        if root is None:
            return None
        _check_size(root)
        return loader.construct_document(root)
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{where}: byte {error.start} is not UTF-8; save the file as UTF-8"
        ) from None
    except _Refused as error:
        raise ConfigError(f"{where}{error}") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        reason = shortened(" ".join(str(error).split()), 300)
        raise ConfigError(f"{where}: not YAML: {reason}") from None


class _Refused(Exception):
    """YAML that is well formed, but not plain or out of bounds."""

    def __init__(self, node: yaml.Node | yaml.Event, problem: str) -> None:
        super().__init__(f", line {_line(node)}: {problem}")


class _Loader(yaml.SafeLoader):
    """PyYAML's loader for plain values; refuses while it reads, before it has read all."""

    depth = 0
    num_nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # typeshed has no types here
        self.num_nodes += 1
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _Refused(event, f"nested deeper than {MAX_DEPTH} levels")
        if self.num_nodes > MAX_VALUES:
            raise _Refused(event, f"over {MAX_VALUES} values")
        node = super().compose_node(parent, index)
        if node is not None:
            _check_node(node)
        self.depth -= 1
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping whose keys are texts, numbers or truth values, each one once."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        lines: dict[Any, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise _Refused(
                    key_node, "a key is a list or a mapping; allowed: a text or a number"
                )
            is_merge = key_node.tag == _MERGE
            key = "<<" if is_merge else self.construct_object(key_node)  # type: ignore[no-untyped-call]
            if key in lines:
                both = f"lines {lines[key]} and {_line(key_node)}"
                raise _Refused(key_node, f"key {shown(key)} twice ({both}); remove one of them")
            lines[key] = _line(key_node)
        return node


def _check_node(node: yaml.Node) -> None:
    if node.tag not in _PLAIN and node.tag != _MERGE:
        raise _Refused(
            node,
            f"{shortened(node.tag.replace(_TAG, '!!'))} is not YAML of plain values; allowed: "
            "mappings, lists, texts, numbers, true, false and null (put dates and other texts in "
            "quotes)",
        )
    if node.tag in _NUMBERS and isinstance(node, yaml.ScalarNode):
        if len(node.value) > MAX_NUMBER_CHARS:
            raise _Refused(node, f"a number of {len(node.value)} characters; put texts in quotes")
        if node.tag.endswith("float") and not _is_finite(node.value):
            raise _Refused(node, f"{shown(node.value)} is not a finite number")


def _is_finite(text: str) -> bool:
    """Whether a float of YAML is finite; one that cannot be read is found when it is made."""
    if text.strip("+-").lower() in (".inf", ".nan"):
        return False
    try:
        return math.isfinite(float(text.replace("_", "")))
    except ValueError:
        return True


def _check_size(root: yaml.Node) -> None:
    """Refuse what aliases make larger than MAX_VALUES or deeper than MAX_DEPTH, and circles."""
    sizes: dict[int, tuple[int, int]] = {}  # values and levels, by node
    open_nodes: dict[int, Iterator[yaml.Node]] = {id(root): _children(root)}
    path = [root]
    while path:
        node = path[-1]
        child = next(open_nodes[id(node)], None)
        if child is None:
            inner = [sizes[id(one)] for one in _children(node)]
            num_values = 1 + sum(values for values, _ in inner)
            num_levels = 1 + max((levels for _, levels in inner), default=0)
            if num_values > MAX_VALUES:
                raise _Refused(node, f"its aliases stand for over {MAX_VALUES} values")
            if num_levels > MAX_DEPTH:
                raise _Refused(node, f"its aliases nest deeper than {MAX_DEPTH} levels")
            sizes[id(node)] = num_values, num_levels
            del open_nodes[id(path.pop())]
        elif id(child) in open_nodes:
            raise _Refused(child, "an alias inside of what it stands for")
        elif id(child) not in sizes:
            open_nodes[id(child)] = _children(child)
            path.append(child)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        yield from node.value
    elif isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair


def _line(node: yaml.Node | yaml.Event) -> int:
    mark = node.start_mark
    return int(mark.line) + 1 if mark is not None else 0

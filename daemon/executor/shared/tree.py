"""Nested Python values as JSON, tensors replaced by numbers: part of the wire format, shared by both sides. No torch.

A node is one of `{"t": index}` (a tensor, or a number of an answer, which is carried as one), `{"l": [...]}`,
`{"u": [...]}` (list, tuple), `{"d": [[key, node], ...]}`, `{"v": [kind, text]}` (a value that is passed, never
compared: int, float, complex, bool, str, none, dtype; floats as hex). An answer may hold no `v` but none, which is a
part of its nesting.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from daemon.executor.shared import misfits

Node = dict[str, Any]
MAX_LEAVES = 4096
_MAX_DEPTH = 16  # a dict takes three levels of JSON: see `protocol`
_MAX_KEY = 1000
_MAX_PLACE = 200
_KINDS = {"t", "l", "u", "d", "v"}
_NONE = ["none", ""]
_SCALARS = (bool, int, float, complex, str)


class Incomparable(Exception):  # noqa: N818 - it says what the value is
    """A value that has no place in a tree: the message names where and what it is."""


def encode(
    value: Any, tensor: Callable[[Any], Node | None], *, place: str = "", named: bool = True, depth: int = 0
) -> Node:
    """Turn `value` into a node. `tensor` returns the node for leaves it takes, None for all others.

    `named`: let int, float, complex, bool, str and None through as `v` nodes; else None alone, inside of something.
    Raises `Incomparable`.
    """
    if depth > _MAX_DEPTH:
        raise Incomparable(f"{place or 'the value'} is nested deeper than {_MAX_DEPTH}")
    if (node := tensor(value)) is not None:
        return node
    if named:
        value = plain(value)
    if isinstance(value, dict):
        pairs = _pairs(value, place or "the value", in_order=named)
        inner_pairs = [
            [key, encode(item, tensor, place=f"{place}[{key!r}]", named=named, depth=depth + 1)] for key, item in pairs
        ]
        return {"d": inner_pairs}
    if isinstance(value, list | tuple):
        inner_nodes = [
            encode(item, tensor, place=f"{place}[{i}]", named=named, depth=depth + 1) for i, item in enumerate(value)
        ]
        return {"u" if isinstance(value, tuple) else "l": inner_nodes}
    if (value is None and depth) or (named and (value is None or isinstance(value, _SCALARS))):
        return {"v": _value_out(value)}
    raise Incomparable(f"{place or 'the value'} is {misfits.described(value, passed=named)}")


def plain(value: Any) -> Any:
    """A number of numpy's as Python's own; everything else as it is, arrays too."""
    is_number = any((kind.__module__, kind.__name__) == ("numpy", "generic") for kind in type(value).__mro__)
    return value.item() if is_number else value


def _pairs(value: dict[Any, Any], place: str, *, in_order: bool) -> list[tuple[Any, Any]]:
    """The items of a dict. Those of answers, which two sides may fill in any order, are sorted; what a kernel is given
    keeps its order."""
    for key in value:
        if not isinstance(key, str | int):
            raise Incomparable(f"{place} has a key of type {type(key).__name__}")
        if isinstance(key, str) and len(key) > _MAX_KEY:
            raise Incomparable(f"{place} has a key of {len(key)} characters; {_MAX_KEY} are allowed")
    pairs = list(value.items())
    return pairs if in_order else sorted(pairs, key=lambda pair: (str(pair[0]), isinstance(pair[0], str)))


def _value_out(value: complex | str | None) -> list[str]:
    """Members of enumerations that are numbers or texts as well are handed over as these."""
    if value is None:
        return _NONE
    if isinstance(value, bool):
        return ["bool", str(value)]
    if isinstance(value, int):
        return ["int", str(int(value))]
    if isinstance(value, float):
        return ["float", float(value).hex()]
    if isinstance(value, complex):
        return ["complex", f"{value.real.hex()} {value.imag.hex()}"]
    return ["str", str.__str__(value)]


def decode(node: Node, tensors: Callable[[int], Any]) -> Any:
    """The value back, `tensors(index)` in place of the numbers. Raises `ValueError` on a malformed node."""
    if "t" in node:
        return tensors(int(node["t"]))
    if "l" in node:
        return [decode(item, tensors) for item in node["l"]]
    if "u" in node:
        return tuple(decode(item, tensors) for item in node["u"])
    if "d" in node:
        return {key: decode(item, tensors) for key, item in node["d"]}
    if "v" in node:
        return _value_in(*node["v"])
    raise ValueError("not a tree")


def _value_in(kind: str, text: str) -> Any:
    if kind == "none":
        return None
    if kind == "float":
        return float.fromhex(text)
    if kind == "complex":
        return complex(*map(float.fromhex, text.split(" ")))
    if kind == "bool":
        return text == "True"
    if kind == "dtype":
        return _dtype(text)
    return int(text) if kind == "int" else text


def _dtype(name: str) -> Any:
    """torch's dtype of that name. Only cells and judges ask, and they have torch. Not by `getattr`, which imports some
    of torch's modules when they are asked for."""
    torch = sys.modules["torch"]
    found = vars(torch).get(name)
    if not isinstance(found, torch.dtype):
        raise ValueError("not a dtype")
    return found


def shape_of(node: Node) -> Any:
    """The structure alone, for comparison: leaves become "*" or None, lists and tuples are the same thing, a dict is
    `{"keys": [...], "items": [...]}` (1 and "1" are two keys, and one name in JSON)."""
    if "d" in node:
        return {"keys": [key for key, _ in node["d"]], "items": [shape_of(item) for _, item in node["d"]]}
    for key in ("l", "u"):
        if key in node:
            return [shape_of(item) for item in node[key]]
    return None if node.get("v") == _NONE else "*"


def in_words(structure: Any) -> str:
    """What `shape_of` returned, as Python writes it: `[tensor, {'a': tensor}]`."""
    return "a tensor" if structure == "*" else _in_brackets(structure)


def _in_brackets(structure: Any) -> str:
    if isinstance(structure, dict):
        pairs = zip(structure["keys"], structure["items"], strict=True)
        return "{" + ", ".join(f"{key!r}: {_in_brackets(item)}" for key, item in pairs) + "}"
    if isinstance(structure, list):
        return "[" + ", ".join(map(_in_brackets, structure)) + "]"
    return "tensor" if structure == "*" else str(structure)


def require_values(node: Node, depth: int = 0) -> None:
    """Raises `ValueError` unless every `v` in it is one that `encode` or an exchange makes, and it is nested no deeper
    than theirs: another cell is to read it. Otherwise `node` is known to be a tree."""
    if depth > _MAX_DEPTH:
        raise ValueError(f"nested deeper than {_MAX_DEPTH}")
    if "v" in node and not _is_value(node["v"]):
        raise ValueError("what stands for a number or a text is no value")
    for item in (*node.get("l", ()), *node.get("u", ()), *(item for _, item in node.get("d", ()))):
        require_values(item, depth + 1)


def _is_value(value: Any) -> bool:
    try:
        match value:
            case ["dtype", str(name)]:
                return _dtype(name) is not None
            case ["none" | "bool" | "int" | "float" | "complex" | "str", str()]:
                return bool(_value_out(_value_in(*value)) == value)
    except (ValueError, TypeError, OverflowError):
        return False
    return False


def leaves(node: Node, place: str = "output", *, named: bool = True) -> list[tuple[str, int]]:
    """Every tensor of the tree in order: (where it stands, at most 200 characters, its index). Raises `ValueError`
    past `MAX_LEAVES`, for what is no tree, and, unless `named`, for a value that is neither a tensor nor None."""
    found: list[tuple[str, int]] = []
    _collect(node, place, found, named=named)
    return found


def _collect(node: Node, place: str, found: list[tuple[str, int]], *, named: bool) -> None:
    place = place[:_MAX_PLACE]  # here, for a key may be as long as a message, and stand above as many nodes
    if len(node.keys() & _KINDS) != 1 or ("v" in node and not named and node["v"] != _NONE):
        raise ValueError(f"{place} is no tree")
    if "t" in node:
        found.append((place, int(node["t"])))
        if len(found) > MAX_LEAVES:
            raise ValueError(f"more than {MAX_LEAVES} tensors or numbers")
    pairs = node.get("d", ())
    if len({key for key, _ in pairs}) != len(pairs):
        raise ValueError(f"{place} has a key twice")
    for key, item in pairs:
        _collect(item, f"{place}[{key!r}]", found, named=named)
    items: Any = node.get("l", node.get("u", ()))
    for index, item in enumerate(items):
        _collect(item, f"{place}[{index}]", found, named=named)

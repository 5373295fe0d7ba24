"""Where two sets of a source's inputs differ in more than the content of tensors. No torch."""

from __future__ import annotations

from collections.abc import Iterator

from daemon.executor.shared.protocol import Message
from daemon.executor.shared.tree import Node

Described = tuple[Node, list[Message]]


def first_difference(before: Described, after: Described) -> str:
    """The first place that is not described alike in both, and how it is in each; empty where there is none."""
    one, other = (dict(_places(*described, "get_inputs()")) for described in (before, after))
    for place in [*one, *other]:
        was, now = one.get(place, "not there"), other.get(place, "not there")
        if was != now:
            return f"{place} was {was}, then {now}"
    return ""


def _places(node: Node, tensors: list[Message], place: str) -> Iterator[tuple[str, str]]:
    """Every place in a tree and what is there, outermost first."""
    if "t" in node:
        tensor = tensors[node["t"]]
        yield place, f"a tensor {tensor['shape']} of {tensor['dtype']}"
        return
    if "v" in node:
        kind, text = node["v"]
        yield place, _shown(kind, text)
        return
    items = node["l"] if "l" in node else node.get("u", [])
    pairs = node["d"] if "d" in node else list(enumerate(items))
    kind = "dict" if "d" in node else "list" if "l" in node else "tuple"
    yield place, f"a {kind} of {len(pairs)}"
    for key, item in pairs:
        yield from _places(item, tensors, f"{place}[{key!r}]")


def _shown(kind: str, text: str) -> str:
    if kind not in ("float", "complex"):
        return f"{kind} {text}"
    return " and ".join(f"{float.fromhex(part):.9g}" for part in text.split(" "))

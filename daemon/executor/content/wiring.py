"""Which tensor goes where: from two kernels' contracts and what their cells report to fields, arguments and answers.
Pure.

A *logical input* is content both sides get. A *field* is one tensor of one side's slot: the copy of a logical input,
or an output. Arguments are a tree over fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from daemon.contract import ArgSpec, IOContract, TensorSpec
from daemon.executor.shared import tree
from daemon.executor.shared.layout import Field, Layout, TensorShape, plan, slot_stride


class CannotWire(Exception):  # noqa: N818 - the bundle's two sides do not fit together; the message says how to fix it
    """The contract leaves open what a kernel is called with."""


_INSIDE = " (get_inputs()"


def made_name(number: int, place: str) -> str:
    """The name of a tensor that get_inputs() makes: its number; if it lies inside of an argument, with `place`."""
    return f"input{number}{_INSIDE}{place})" if place else f"input{number}"


def lies_inside(name: str) -> bool:
    """Whether the tensor of this name lies inside of an argument. io cannot name such a tensor."""
    return _INSIDE in name


@dataclass(frozen=True)
class Logical:
    """Content shared by both sides. `spec` None: drawn by the source's own get_inputs()."""

    name: str
    tensor: TensorShape
    spec: TensorSpec | None
    static: bool = False


@dataclass(frozen=True)
class SideField:
    """One tensor of a slot; `logical` numbers the input it is a copy of, None for an output nobody filled."""

    name: str
    tensor: TensorShape
    logical: int | None
    is_output: bool


@dataclass(frozen=True)
class Wiring:
    """One side: its fields, its arguments (a tree over fields), its answer.

    - `answer`: the numbers of the fields that hold the answer, in order
    - `returns`: the answer is returned and copied there; otherwise the kernel writes it itself
    - `structure`: the nesting of a returned answer
    - `kept`: fields of the answer that are arguments which the kernel changes, beside what it returns
    """

    fields: tuple[SideField, ...]
    args: tree.Node
    answer: tuple[int, ...]
    names: tuple[str, ...]
    returns: bool
    structure: Any = "*"
    kept: tuple[int, ...] = ()

    def stride(self) -> int:
        """Bytes of one slot."""
        return slot_stride([field.tensor for field in self.fields])

    def layout(self, slots: int) -> Layout:
        fields = [(f.name, f.tensor, f.is_output or f.logical is None, f.logical is None) for f in self.fields]
        return plan(fields, slots)

    def inputs(self, layout: Layout) -> Iterator[tuple[int, Field]]:
        """Where each logical input lies in a slot of `layout`, by its number."""
        for wired, placed in zip(self.fields, layout.fields, strict=True):
            if wired.logical is not None:
                yield wired.logical, placed

    @property
    def output_args(self) -> tuple[int, ...]:
        """Fields that are arguments and answers at once."""
        passed = {index for _, index in tree.leaves(self.args)}
        return tuple(index for index, field in enumerate(self.fields) if field.is_output and index in passed)

    @property
    def returned_places(self) -> tuple[int, ...]:
        """Which of the answer is returned: all but what is `kept`."""
        return tuple(place for place, index in enumerate(self.answer) if index not in self.kept)

    @property
    def returned(self) -> tuple[int, ...]:
        """The fields of what is returned."""
        return tuple(self.answer[place] for place in self.returned_places)

    @property
    def changed_args(self) -> dict[str, int]:
        """Arguments that have content before the call and are answers after it, by name."""
        return {self.fields[index].name: index for index in self.output_args if self.fields[index].logical is not None}

    def with_kept(self, names: frozenset[str], like: Wiring | None) -> Wiring:
        """The same side, with the arguments `names` as part of its answer beside what it returns. They stand at the
        places that they have in the answer of `like`, a side that writes all of its own; else at the end."""
        mine = {name: index for name, index in self.changed_args.items() if name in names}
        answer: list[int] = []
        returned = list(self.answer)
        written = [like.fields[index] for index in like.answer] if like is not None else []
        for field in written:
            if field.name in mine and field.logical is not None:
                answer.append(mine[field.name])
            elif returned:
                answer.append(returned.pop(0))
        answer += returned
        answer += [mine[name] for name in sorted(mine) if mine[name] not in answer]
        known = dict(zip(self.answer, self.names, strict=True))
        called = tuple(known.get(index, self.fields[index].name) for index in answer)
        return replace(self, answer=tuple(answer), names=called, kept=tuple(sorted(mine.values())))

    def with_returned(self, node: tree.Node, tensors: list[TensorShape]) -> Wiring:
        """The same side, its answer returned in the nesting of `node`: one more field per returned tensor."""
        places = tree.leaves(node)
        first = len(self.fields)
        added = tuple(SideField(name, tensors[index], logical=None, is_output=True) for name, index in places)
        return replace(
            self,
            fields=self.fields + added,
            answer=tuple(range(first, first + len(added))),
            names=tuple(field.name for field in added),
            returns=True,
            structure=tree.shape_of(node),
        )


def tensor_shape(spec: TensorSpec) -> TensorShape:
    return TensorShape(spec.dtype, spec.dims)


def logical_from_io(io: IOContract, static: frozenset[str]) -> list[Logical]:
    """The contract's tensors that have content before the call, in call order."""
    return [
        Logical(arg.name, tensor_shape(arg.tensor_spec), arg.tensor_spec, static=arg.name in static)
        for arg in io.args
        if arg.tensor_spec is not None and _has_content(arg)
    ]


def _has_content(arg: ArgSpec) -> bool:
    """Inputs, and outputs that the contract fills (an accumulator that starts at zero)."""
    spec = arg.tensor_spec
    return spec is not None and (arg.is_input or spec.init is not None or spec.data is not None)


def wire_io(io: IOContract, content: dict[str, int]) -> Wiring:
    """A side called as its own contract says; `content` maps argument names to logical inputs."""
    fields: list[SideField] = []
    nodes: list[tree.Node] = []
    for arg in io.args:
        if arg.tensor_spec is None:
            nodes.append(tree.encode(arg.value, lambda _: None))
            continue
        nodes.append({"t": len(fields)})
        fields.append(SideField(arg.name, tensor_shape(arg.tensor_spec), content.get(arg.name), arg.is_output))
    answer = tuple(index for index, field in enumerate(fields) if field.is_output)
    names = tuple(fields[index].name for index in answer)
    return Wiring(tuple(fields), {"u": nodes}, answer, names, returns=False, structure=_flat_structure(len(answer)))


def _flat_structure(count: int) -> Any:
    return "*" if count == 1 else ["*"] * count


def wire_tree(args: tree.Node, logicals: list[Logical]) -> Wiring:
    """A side called with what get_inputs() returned: `args` is a tree over the logical inputs."""
    if not ("l" in args or "u" in args):
        args = {"u": [args]}
    fields = tuple(SideField(item.name, item.tensor, index, is_output=False) for index, item in enumerate(logicals))
    return Wiring(fields, args, (), (), returns=True)


def pair_inputs(candidate: IOContract, logicals: list[Logical]) -> dict[str, int]:
    """Which logical input each of the candidate's input tensors gets: by name where all names agree; else, where there
    are as many, by name as far as names agree and the others in order.

    Raises `CannotWire` when shapes or dtypes contradict.
    """
    wanted = [arg for arg in candidate.args if arg.tensor_spec is not None and arg.is_input]
    by_name = {item.name: index for index, item in enumerate(logicals)}
    if all(arg.name in by_name for arg in wanted):
        pairs = {arg.name: by_name[arg.name] for arg in wanted}
    elif len(wanted) == len(logicals):
        called = [arg.name for arg in wanted]
        pairs = dict(zip(called, matched(called, [item.name for item in logicals]), strict=True))
    else:
        names = ", ".join(item.name for item in logicals) or "none"
        raise CannotWire(
            f"the reference has {len(logicals)} input tensors ({names}), the custom kernel {len(wanted)} "
            f"({', '.join(arg.name for arg in wanted) or 'none'}); give them the same names or the same number"
        )
    for arg in wanted:
        assert arg.tensor_spec is not None
        mine, theirs = tensor_shape(arg.tensor_spec), logicals[pairs[arg.name]]
        if mine != theirs.tensor:
            raise CannotWire(
                f"input {arg.name} of the custom kernel is {mine.dtype}{list(mine.shape)}, "
                f"the reference's {theirs.name} is {theirs.tensor.dtype}{list(theirs.tensor.shape)}"
            )
    return pairs


def matched(wanted: Sequence[str], offered: Sequence[str]) -> list[int]:
    """For each name of `wanted`, the number of one of `offered`, of which there are as many: the one of the same name,
    if there is one; the others in order."""
    left = iter([index for index, name in enumerate(offered) if name not in wanted])
    return [offered.index(name) if name in offered else next(left) for name in wanted]


def wire_like(io: IOContract, content: dict[str, int], parameters: list[str] | None) -> Wiring:
    """A Python function without a contract of its own, called with the arguments of the other side. By name if its
    parameters are the names of all of these, or of all that are no outputs; else by position. Its answers, where it
    writes them, stay in the other side's order."""
    by_name = {arg.name: arg for arg in io.args}
    names = {arg.name for arg in io.args if arg.is_input or arg.tensor_spec is None}
    if parameters is None or set(parameters) not in (set(by_name), names):
        return wire_io(io, content)
    wired = wire_io(io.model_copy(update={"args": tuple(by_name[name] for name in parameters)}), content)
    places = list(by_name)
    answer = tuple(sorted(wired.answer, key=lambda index: places.index(wired.fields[index].name)))
    return replace(wired, answer=answer, names=tuple(wired.fields[index].name for index in answer))


def wire_call(io: IOContract, content: dict[str, int], parameters: list[str] | None) -> Wiring:
    """A Python reference without a contract of its own, called with the custom kernel's inputs.

    By parameter name if all of the reference's parameters are arguments of the contract. Else it gets the input
    tensors, and also the scalars if it has as many parameters as that: those of the same name by name, the others in
    order.
    """
    given = [arg for arg in io.args if not arg.is_meta and (arg.tensor_spec is None or arg.is_input)]
    by_name = {arg.name: arg for arg in given}
    tensors = [arg for arg in given if arg.tensor_spec is not None]
    if parameters and all(name in by_name for name in parameters):
        chosen = [by_name[name] for name in parameters]
    else:
        chosen = given if parameters is not None and len(parameters) == len(given) else tensors
        if parameters is not None and len(parameters) == len(chosen):
            chosen = [chosen[index] for index in matched(parameters, [arg.name for arg in chosen])]
    inputs_only = tuple(arg.model_copy(update={"role": "input"}) for arg in chosen)
    wired = wire_io(io.model_copy(update={"args": inputs_only}), content)
    return replace(
        wired, fields=tuple(replace(f, is_output=False) for f in wired.fields), answer=(), names=(), returns=True
    )

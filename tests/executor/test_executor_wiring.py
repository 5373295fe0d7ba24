"""Which tensor goes where: inputs of two kernels paired, arguments and answers in fields."""

from __future__ import annotations

import pytest

from daemon.contract import ArgSpec, ArgType, IOContract, Role, TensorSpec
from daemon.executor.content.wiring import CannotWire, Logical, pair_inputs, wire_call, wire_io, wire_tree
from daemon.executor.shared import tree
from daemon.executor.shared.layout import TensorShape


def argument(name: str, role: str = "input", shape: tuple[int, ...] = (4,)) -> ArgSpec:
    return ArgSpec(
        name=name, type=ArgType.TENSOR, role=Role(role), tensor_spec=TensorSpec(shape=shape, dtype="float32")
    )


FOUR = TensorShape("float32", (4,))


def test_inputs_are_paired_by_name_then_by_position_and_must_agree() -> None:
    logicals = [Logical("a", FOUR, None), Logical("b", FOUR, None)]
    by_name = IOContract(args=(argument("b"), argument("a"), argument("o", "output")))
    assert pair_inputs(by_name, logicals) == {"b": 1, "a": 0}
    by_place = IOContract(args=(argument("x"), argument("y")))
    assert pair_inputs(by_place, logicals) == {"x": 0, "y": 1}
    one_by_name = IOContract(args=(argument("b"), argument("x")))
    assert pair_inputs(one_by_name, logicals) == {"b": 1, "x": 0}
    with pytest.raises(CannotWire, match="2 input tensors"):
        pair_inputs(IOContract(args=(argument("x"),)), logicals)
    with pytest.raises(CannotWire, match=r"float32\[5\]"):
        pair_inputs(IOContract(args=(argument("x", shape=(5,)), argument("y"))), logicals)


def test_outputs_become_poisoned_fields_and_inputs_read_only_ones() -> None:
    wiring = wire_io(
        IOContract(args=(argument("a"), argument("o", "output"), argument("c", "inout"))), {"a": 0, "c": 1}
    )
    fields = {field.name: (field.writable, field.poisoned) for field in wiring.layout(2).fields}
    assert fields == {"a": (False, False), "o": (True, True), "c": (True, False)}
    assert wiring.names == ("o", "c")
    assert wiring.output_args == (1, 2)
    assert wiring.changed_args == {"c": 2}


def test_a_reference_without_io_is_called_with_the_tensors_or_by_name() -> None:
    io = IOContract(args=(argument("a"), ArgSpec(name="n", type=ArgType.INT, value=4), argument("o", "output")))
    assert len(wire_call(io, {"a": 0}, None).args["u"]) == 1
    assert len(wire_call(io, {"a": 0}, ["a", "n"]).args["u"]) == 2


def test_parameters_of_a_reference_that_agree_in_part_are_paired_by_name_and_the_others_in_order() -> None:
    io = IOContract(args=(argument("x"), argument("w"), argument("o", "output")))
    content = {"x": 0, "w": 1}

    def called_with(*parameters: str) -> list[str]:
        return [field.name for field in wire_call(io, content, list(parameters)).fields]

    assert called_with("weight", "x") == ["w", "x"]
    assert called_with("left", "right") == ["x", "w"]
    assert called_with("w") == ["w"]
    assert called_with("left") == ["x", "w"]


def test_a_returned_tree_adds_one_field_per_tensor() -> None:
    base = wire_tree({"l": [{"t": 0}]}, [Logical("a", FOUR, None)])
    wiring = base.with_returned({"d": [["x", {"t": 0}], ["y", {"u": [{"t": 1}]}]]}, [FOUR, FOUR])
    assert wiring.names == ("output['x']", "output['y'][0]")
    assert tree.in_words(wiring.structure) == "{'x': tensor, 'y': [tensor]}"
    assert (wiring.output_args, wiring.changed_args) == ((), {})

from __future__ import annotations

import math
from typing import Any

import pytest
from contract_samples import compare, cuda_kernel, data, evaluate, fields, only, parsed, problems, tensor, with_args

from daemon.contract import (
    DTYPES,
    ArgSpec,
    CaseSpec,
    CompareRequest,
    InitSpec,
    KernelSpec,
    TensorSpec,
    bind_case,
    default_tolerance,
    expressions,
)
from daemon.errors import BundleError

DTYPE = "kernel.io.args[0].tensor_spec.dtype"


def scalar(kind: str, value: Any, **more: Any) -> dict[str, Any]:
    return {"name": "a", "type": kind, "value": value, **more}


def bound_arg(arg: dict[str, Any], **bind: int) -> ArgSpec:
    document = with_args(arg, cases=[{"name": "c", "bind": bind}])
    request = parsed(document).request
    io = bind_case(request, request.cases[0]).candidate.io
    assert io is not None
    return io.args[0]


def spec_of(arg: ArgSpec) -> TensorSpec:
    assert arg.tensor_spec is not None
    return arg.tensor_spec


def init_of(init: dict[str, Any], dtype: str = "float32", **bind: int) -> InitSpec:
    filled = spec_of(bound_arg(tensor("x", [4], dtype, init=init), **bind)).init
    assert filled is not None
    return filled


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("int", 3, 3),
        ("int", 3.0, 3),
        ("int", -(2**63), -(2**63)),
        ("int", "N * 2", 8),
        ("float", 3, 3.0),
        ("float", 0.1, 0.1),
        ("float", "N", 4.0),
        ("float", "1.5", 1.5),
        ("float", "-inf", -math.inf),
        ("str", "N", "N"),
        ("str", "mean", "mean"),
        ("str", "nan", "nan"),
        ("bool", True, True),
    ],
)
def test_a_scalar_is_cast_to_its_declared_type(kind: str, given: object, value: object) -> None:
    found = bound_arg(scalar(kind, given), N=4).value
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        ("int", 3.5),
        ("int", True),
        ("int", 2**63),
        ("int", "1.5"),
        ("int", "inf"),
        ("int", "N +"),
        ("int", [1]),
        ("float", False),
        ("float", "x.y"),
        ("bool", 1),
        ("bool", "true"),
        ("str", 7),
        ("int", None),
        ("int", "K"),
    ],
)
def test_a_scalar_that_does_not_fit_its_type_is_refused(kind: str, given: object) -> None:
    (field,) = fields(with_args(scalar(kind, given)))
    assert field.startswith("kernel.io.args[0].value")


@pytest.mark.parametrize(
    ("arg", "field"),
    [
        (scalar("int", 1, role="output"), "role"),
        (scalar("int", 1, tensor_spec={"shape": [1], "dtype": "int8"}), "tensor_spec"),
        ({**tensor("x", [1]), "value": 3}, "value"),
        ({**tensor("x", [1]), "is_meta": True}, "is_meta"),
        ({"name": "x", "type": "tensor"}, "tensor_spec"),
        ({"name": "", "type": "int", "value": 1}, "name"),
        ({"type": "int", "value": 1}, "name"),
        (scalar("int", 1, is_meta="yes"), "is_meta"),
        (scalar("int", 1, role="both"), "role"),
    ],
)
def test_value_and_tensor_spec_belong_to_their_types(arg: dict[str, Any], field: str) -> None:
    assert fields(with_args(arg)) == [f"kernel.io.args[0].{field}"]


def test_argument_names_are_unique() -> None:
    assert fields(with_args(tensor("x", [1]), tensor("x", [1]))) == ["kernel.io.args[1].name"]


def test_a_static_argument_is_an_input_by_name() -> None:
    document = with_args(tensor("weight", [1]), tensor("y", [1], role="inout", init={"kind": "zeros"}))
    assert problems({**document, "static_args": ["weight"]}) == ()
    assert only({**document, "static_args": ["wight"]}).suggestion == "weight"
    assert "inout" in only({**document, "static_args": ["y"]}).message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("fp32", "float32"),
        ("half", "float16"),
        ("bf16", "bfloat16"),
        ("torch.float32", "float32"),
        ("double", "float64"),
        ("long", "int64"),
        ("flaot32", "float32"),
        ("e4m3", "float8_e4m3fn"),
        ("complex", "complex64"),
        ("string", None),
    ],
)
def test_a_wrong_dtype_names_the_right_one(written: str, meant: str | None) -> None:
    problem = only(with_args(tensor("x", [1], written)))
    assert (problem.field, problem.suggestion) == (DTYPE, meant)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_takes_every_kind_of_init(dtype: str) -> None:
    kinds = ({"kind": kind} for kind in ("randn", "uniform", "zeros", "ones", "arange"))
    for init in (*kinds, {"kind": "full", "fill_value": 1}):
        assert problems(with_args(tensor("x", [2, 3], dtype, init=init))) == (), init


def test_default_tolerances_go_by_dtype() -> None:
    expected = {"float64": 1e-10, "float32": 1e-4, "complex64": 1e-4, "float16": 1e-2, "bfloat16": 1e-2}
    expected |= {"float8_e4m3fn": 0.13, "float8_e5m2": 0.26}
    for dtype in DTYPES:
        tolerance = expected.get(dtype, 0.0)
        assert default_tolerance(dtype) == (tolerance, tolerance)


@pytest.mark.parametrize(("shape", "numel"), [([], 1), ([0], 0), ([3, 0, 5], 0), (["N", 2], 8), (["N - 4"], 0)])
def test_rank_zero_and_zero_size_shapes_are_legal(shape: list[Any], numel: int) -> None:
    spec = spec_of(bound_arg(tensor("x", shape, "int32"), N=4))
    assert (spec.numel, spec.nbytes) == (numel, numel * 4)


@pytest.mark.parametrize(
    "shape",
    [
        [-1],
        [1.5],
        ["N - 9"],
        [True],
        [None],
        "N",
        4,
        [[1]],
        ["K"],
        [2**62, 4],
        [0, 2**62, 2**62],
        [2**48, 0],
        [1] * 65,
        ["N/2"],
    ],
)
def test_a_shape_that_cannot_be_is_refused(shape: Any) -> None:
    document = with_args(tensor("x", shape), cases=[{"name": "c", "bind": {"N": 4}}])
    (field,) = fields(document)
    assert field.startswith("kernel.io.args[0].tensor_spec.shape")


def test_inputs_need_content_unless_they_have_no_elements_and_outputs_need_none() -> None:
    bare = {"shape": ["N"], "dtype": "float32"}
    for role, accepted in (("input", False), ("inout", False), ("output", True)):
        arg = {"name": "x", "type": "tensor", "role": role, "tensor_spec": bare}
        full = fields(with_args(arg, cases=[{"name": "c", "bind": {"N": 3}}]))
        assert full == ([] if accepted else ["kernel.io.args[0].tensor_spec (case c)"])
        assert fields(with_args(arg, cases=[{"name": "c", "bind": {"N": 0}}])) == []


def test_init_and_data_exclude_each_other() -> None:
    arg = tensor("x", [1], "int8", init={"kind": "zeros"}, data=data(b"a"))
    assert fields(with_args(arg)) == ["kernel.io.args[0].tensor_spec"]


@pytest.mark.parametrize(
    ("dtype", "init", "expected"),
    [
        ("float32", {"kind": "uniform"}, {"low": 0.0, "high": 1.0}),
        ("float32", {"kind": "uniform", "low": -1, "high": 0}, {"low": -1.0, "high": 0.0}),
        ("int8", {"kind": "uniform"}, {"low": 0, "high": 100}),
        ("uint8", {"kind": "uniform", "high": "N"}, {"low": 0, "high": 4}),
        ("bool", {"kind": "uniform"}, {"low": False, "high": True}),
        ("float32", {"kind": "randn", "std": 2}, {"mean": 0.0, "std": 2.0}),
        ("float32", {"kind": "arange"}, {"start": 0.0, "step": 1.0}),
        ("int32", {"kind": "arange", "start": 5, "step": -2.0}, {"start": 5, "step": -2}),
        ("uint64", {"kind": "full", "fill_value": 2**64 - 1}, {"fill_value": 2**64 - 1}),
        ("float32", {"kind": "full", "fill_value": "-inf"}, {"fill_value": -math.inf}),
        ("bool", {"kind": "full", "fill_value": 1}, {"fill_value": True}),
        ("int64", {"kind": "full", "fill_value": 2**53 + 1}, {"fill_value": 2**53 + 1}),
        ("float16", {"kind": "full", "fill_value": 0.1}, {"fill_value": 0.1}),
        ("bool", {"kind": "arange"}, {"start": False, "step": True}),
        ("int8", {"kind": "arange", "start": 124}, {"start": 124, "step": 1}),
    ],
)
def test_binding_fills_in_every_parameter_of_the_kind(
    dtype: str, init: dict[str, Any], expected: dict[str, Any]
) -> None:
    bound = init_of(init, dtype, N=4)
    assert {name: getattr(bound, name) for name in expected} == expected
    assert all(type(getattr(bound, name)) is type(value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("dtype", "init", "field"),
    [
        ("float32", {"kind": "uniform", "low": 2, "high": 1}, ""),
        ("float32", {"kind": "uniform", "low": 2}, ""),
        ("float32", {"kind": "uniform", "high": "inf"}, ".high"),
        ("uint8", {"kind": "uniform", "low": -1}, ".low"),
        ("int8", {"kind": "uniform", "high": 0.5}, ".high"),
        ("float32", {"kind": "randn", "std": -1}, ".std"),
        ("float16", {"kind": "randn", "std": 1e300}, ".std"),
        ("float32", {"kind": "randn", "mean": 1e39}, ".mean"),
        ("float32", {"kind": "randn", "mean": True}, ".mean"),
        ("float32", {"kind": "randn", "mean": "nan"}, ".mean"),
        ("int8", {"kind": "arange", "step": 0.5}, ".step"),
        ("int8", {"kind": "arange", "step": 50}, ""),
        ("int8", {"kind": "arange", "start": -100, "step": -10}, ""),
        ("float16", {"kind": "arange", "start": 6e4, "step": 4000}, ""),
        ("float32", {"kind": "full"}, ".fill_value"),
        ("int8", {"kind": "full", "fill_value": 128}, ".fill_value"),
        ("uint64", {"kind": "full", "fill_value": 2**64}, ".fill_value"),
        ("int32", {"kind": "full", "fill_value": 1.5}, ".fill_value"),
        ("int32", {"kind": "full", "fill_value": True}, ".fill_value"),
        ("int32", {"kind": "full", "fill_value": "inf"}, ".fill_value"),
        ("bool", {"kind": "full", "fill_value": 2}, ".fill_value"),
        ("float16", {"kind": "full", "fill_value": 1e5}, ".fill_value"),
        ("float8_e4m3fn", {"kind": "full", "fill_value": "inf"}, ".fill_value"),
        ("float32", {"kind": "full", "fill_value": "K"}, ".fill_value"),
        ("float32", {"kind": "rand"}, ".kind"),
        ("float32", {"kind": "randn", "seed": 2**64}, ".seed"),
        ("float32", {"kind": "randn", "seed": True}, ".seed"),
        ("float32", {"seed": 1}, ".kind"),
        ("float32", [], ""),
    ],
)
def test_an_init_that_cannot_be_is_refused(dtype: str, init: Any, field: str) -> None:
    assert set(fields(with_args(tensor("x", [4], dtype, init=init)))) == {f"kernel.io.args[0].tensor_spec.init{field}"}


def test_parameters_of_another_kind_are_warned_about() -> None:
    answer = parsed(with_args(tensor("x", [4], init={"kind": "zeros", "high": 3, "seed": 1})))
    assert [warning.field for warning in answer.warnings] == ["kernel.io.args[0].tensor_spec.init.high"]


def launch_of(launch: dict[str, Any], **bind: int) -> Any:
    kernel = {**cuda_kernel(), "io": {**cuda_kernel()["io"], "launch": launch}}
    request = parsed({"kernel": kernel, "cases": [{"name": "c", "bind": bind}]}).request
    io = bind_case(request, request.cases[0]).candidate.io
    assert io is not None
    return io.launch


@pytest.mark.parametrize(
    ("written", "dims"),
    [
        (5, (5, 1, 1)),
        ("N", (7, 1, 1)),
        ([2], (2, 1, 1)),
        ([2, "N", 4], (2, 7, 4)),
        ({"x": 2}, (2, 1, 1)),
        ({"z": "ceildiv(N, 2)", "y": None}, (1, 1, 4)),
    ],
)
def test_grid_block_and_cluster_take_every_form(written: Any, dims: tuple[int, int, int]) -> None:
    launch = launch_of({"grid": written, "block": written, "cluster": written}, N=7)
    assert (launch.grid, launch.block, launch.cluster) == (dims, dims, dims)


def test_launch_defaults_are_one_block_of_256_threads() -> None:
    launch = launch_of({})
    assert (launch.grid, launch.block, launch.cluster) == ((1, 1, 1), (256, 1, 1), None)
    assert (launch.num_warps, launch.num_stages, launch.shared_mem, launch.cooperative) == (None, None, 0, False)


def test_a_launch_may_have_one_warp_and_no_pipeline() -> None:
    launch = launch_of({"num_warps": "N - 6", "num_stages": 0, "shared_mem": "N"}, N=7)
    assert (launch.num_warps, launch.num_stages, launch.shared_mem) == (1, 0, 7)


@pytest.mark.parametrize(
    ("launch", "field"),
    [
        ({"grid": 0}, "grid.x"),
        ({"grid": [1, "N - 7"]}, "grid.y"),
        ({"block": [1, 2, 3, 4]}, "block"),
        ({"block": []}, "block"),
        ({"block": {"w": 1}}, "block"),
        ({"grid": True}, "grid"),
        ({"num_warps": 0}, "num_warps"),
        ({"num_stages": "K"}, "num_stages"),
        ({"num_stages": -1}, "num_stages"),
        ({"shared_mem": -1}, "shared_mem"),
        ({"grid": 2**31}, "grid.x"),
        ({"cooperative": 1}, "cooperative"),
    ],
)
def test_a_launch_that_cannot_be_is_refused(launch: dict[str, Any], field: str) -> None:
    kernel = {**cuda_kernel(), "io": {**cuda_kernel()["io"], "launch": launch}}
    (found,) = fields({"kernel": kernel, "cases": [{"name": "c", "bind": {"N": 7}}]})
    assert found.startswith(f"kernel.io.launch.{field}")


def test_a_large_block_is_left_to_the_device() -> None:
    assert launch_of({"block": [64, 64]}).block == (64, 64, 1)


def test_binding_keeps_the_request_and_resolves_every_symbol() -> None:
    request = parsed(compare()).request
    bound = bind_case(request, request.cases[1])
    assert isinstance(bound, CompareRequest)
    assert bound.cases == (request.cases[1],)
    assert bound.ref_kernel == request.ref_kernel
    io = bound.custom_kernel.io
    assert io is not None
    assert [spec_of(arg).dims for arg in io.args[:2]] == [(100_000,), (100_000,)]
    assert io.args[2].value == 100_000
    assert io.launch is not None
    assert io.launch.grid == (391, 1, 1)
    with pytest.raises(ValueError, match="bind a case"):
        _ = spec_of(_io(request.custom_kernel).args[0]).dims


def _io(kernel: KernelSpec) -> Any:
    return kernel.io


def test_binding_an_unknown_case_lists_all_problems_with_its_name() -> None:
    request = parsed(compare()).request
    with pytest.raises(BundleError) as caught:
        bind_case(request, CaseSpec(name="odd", bind={"M": 3}))
    found = caught.value.problems
    assert len(found) == 4
    assert all("(case odd)" in problem.field and "bound here: M" in problem.message for problem in found)


def test_a_problem_that_every_case_shares_is_reported_once() -> None:
    cases = [{"name": f"c{index}", "bind": {"N": index}} for index in range(1, 10)]
    (field,) = fields(with_args(tensor("x", ["K"]), {"name": "n", "type": "int", "value": "N"}, cases=cases))
    assert field.endswith("(cases c1, c2, c3, c4 and 5 more)")


def test_a_symbol_that_nothing_uses_is_warned_about() -> None:
    answer = parsed({**evaluate(), "cases": [{"name": "a", "bind": {"N": 3}}]})
    assert [warning.field for warning in answer.warnings] == ["cases[0].bind.N"]


def test_expressions_are_counted_before_they_are_evaluated() -> None:
    args = [tensor(f"x{index}", ["N"] * 64) for index in range(13)]
    cases = [{"name": f"c{index}", "bind": {"N": 1}} for index in range(64)]
    assert problems(with_args(*args[:12], cases=cases)) == ()
    (problem,) = problems(with_args(*args, cases=cases))
    assert "expressions" in problem.message


def test_too_many_arguments_are_refused() -> None:
    args = [{"name": f"a{index}", "type": "int", "value": 1} for index in range(513)]
    assert fields(with_args(*args)) == ["kernel.io.args"]
    assert fields(with_args(*args[:512])) == []


def test_expressions_that_would_take_minutes_to_read_are_not_read() -> None:
    one = "1+" * 100 + "N"
    problem = only(with_args(*(tensor(f"x{number}", [one]) for number in range(510))))
    assert (problem.field, problem.message) == (
        "kernel.io.args",
        "the expressions have 102510 characters in all, 100000 are allowed",
    )


def test_more_expressions_than_anybody_writes_are_not_read() -> None:
    problem = only(with_args(*(tensor(f"x{number}", ["1"] * 20) for number in range(510))))
    assert (problem.field, problem.message) == ("kernel.io.args", "has 10200 expressions, 10000 are allowed")


def test_expressions_that_would_take_minutes_in_all_cases_are_not_tried() -> None:
    one, cases = "N+" * 30 + "1", [{"name": f"c{number}", "bind": {"N": number}} for number in range(64)]
    values = [{"name": f"s{number}", "type": "int", "value": one} for number in range(300)]
    problem = only(with_args(tensor("x", [4]), *values, cases=cases))
    assert problem.field == "cases"
    assert problem.message == "18300 characters of expressions times 64 cases are more than 1000000"


def test_of_a_shape_with_too_many_extents_none_is_read() -> None:
    problem = only(with_args(tensor("x", ["1+"] * 65)))
    assert problem.field == "kernel.io.args[0].tensor_spec.shape"
    assert problem.message == "may have at most 64 entries, this has 65"


def test_what_was_meant_is_looked_for_where_it_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[str] = []
    monkeypatch.setattr(expressions, "meant_by", lambda text, _: looked_at.append(text))
    document = with_args(*(tensor(f"x{number}", ["N / 2"] * 60) for number in range(8)))
    assert len(problems(document)) == 101
    assert len(looked_at) == 100

"""Putting a case's numbers in the place of its symbols, and every rule that needs the numbers.

`bind_case` is what the executor calls; `parse_contract` runs the same code for every case, so a contract that was
accepted binds without a problem.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

from daemon.contract.document import CONTRACT_FILE
from daemon.contract.dtypes import Category, DTypeInfo, as_element, unrepresentable
from daemon.contract.expressions import MAX_MAGNITUDE, ExpressionError, evaluate
from daemon.contract.fields import literal_float
from daemon.contract.problems import ProblemLog, Suggestion
from daemon.contract.request import CaseSpec, CompareRequest, EvaluateRequest, KernelSpec
from daemon.contract.tensors import ArgSpec, ArgType, InitKind, InitSpec, IOContract, LaunchSpec, TensorData, TensorSpec
from daemon.contract.work import Work
from daemon.errors import Problem

R = TypeVar("R", EvaluateRequest, CompareRequest)

_MAX_LAUNCH = 2**31 - 1
_MAX_ELEMENTS = 1 << 48  # the judge stacks some thousand tensors of a shape, and what they span has to fit 64 bits
# The parameters each kind has, with the value an absent one takes; uniform's bounds depend on the dtype.
KIND_PARAMETERS: dict[InitKind, dict[str, float | None]] = {
    InitKind.RANDN: {"mean": 0.0, "std": 1.0},
    InitKind.UNIFORM: {"low": None, "high": None},
    InitKind.ZEROS: {},
    InitKind.ONES: {},
    InitKind.FULL: {"fill_value": None},
    InitKind.ARANGE: {"start": 0, "step": 1},
}
_UNIFORM_HIGH = {Category.FLOAT: 1.0, Category.COMPLEX: 1.0, Category.INT: 100, Category.BOOL: 1}


def bind_case(request: R, case: CaseSpec) -> R:
    """`request` for one case: every symbol a number, every init parameter of its kind filled in, `cases` only this one.

    Raises `BundleError` listing every symbol that is not bound and every number that cannot be used.
    """
    log = ProblemLog(CONTRACT_FILE)
    update: dict[str, object] = {"cases": (case,)}
    for side in ("kernel", "ref_kernel", "custom_kernel"):
        kernel = getattr(request, side, None)
        if isinstance(kernel, KernelSpec) and kernel.io is not None:
            io = _bind_io(kernel.io, Binder(case, log), f"{side}.io")
            update[side] = kernel.model_copy(update={"io": io})
    if request.work is not None:
        update["work"] = bind_work(request.work, Binder(case, log))
    log.raise_if_any()
    return request.model_copy(update=update)


class Binder:
    """Evaluates the symbols of one case and notes what is wrong, with the case's name in the field."""

    def __init__(self, case: CaseSpec, log: ProblemLog, *, implicit: bool = False) -> None:
        self.case = case
        self._log = log
        self._suffix = "" if implicit else f" (case {case.name})"
        self._scalars: Mapping[str, int | str] = {}
        self._remark = ""
        self._values: dict[str, int] = {}  # of expressions: the same are written again and again

    @contextmanager
    def beside(self, args: Iterable[ArgSpec], remark: str = "") -> Iterator[None]:
        """During the block, an unbound name may be one of `args`, which somebody has taken for a symbol: the problem
        then says so. `remark`: what else to say of a name that is not bound."""
        values = {arg.name: arg.value for arg in args if arg.type is ArgType.INT}
        self._scalars = {name: value for name, value in values.items() if isinstance(value, int | str)}
        self._remark = remark
        yield
        self._scalars, self._remark = {}, ""

    @property
    def problems(self) -> Sequence[Problem]:
        """What has been complained of so far, with whatever else is in the same log."""
        return self._log.problems

    def complain(self, field: str, message: str, suggestion: Suggestion = None) -> None:
        self._log.add(field + self._suffix, message, suggestion)

    def number(self, value: float | str, field: str) -> int | float | None:
        """The number behind `value`, or None with the problem noted."""
        if not isinstance(value, str):
            return value
        literal = literal_float(value)
        return self._evaluated(value, field) if literal is None else literal

    def whole(self, value: int | str, field: str, *, low: int, high: int = MAX_MAGNITUDE) -> int | None:
        """The whole number behind `value` when it lies in [low, high], or None with the problem noted."""
        number = self._evaluated(value, field) if isinstance(value, str) else value
        if number is None or low <= number <= high:
            return number
        computed = f" (from {value!r})" if isinstance(value, str) else ""
        wanted = f"at least {low}" if number < low else f"at most {high}"
        self.complain(field, f"must be {wanted}, got {number}{computed}")
        return None

    def _evaluated(self, text: str, field: str) -> int | None:
        if (known := self._values.get(text)) is not None:
            return known
        try:
            return self._values.setdefault(text, evaluate(text, self.case.bind))
        except ExpressionError as error:
            if error.unbound in self._scalars:
                message = f"{error.unbound!r} is an argument, and no symbol that a case binds: write its value"
                self.complain(field, message + self._remark, partial(self._with_values, text))
            else:
                self.complain(field, error.message + (self._remark if error.unbound else ""), error.suggest)
            return None

    def _with_values(self, text: str) -> str:
        """`text` with the arguments' values in place of their names."""

        def value_of(name: re.Match[str]) -> str:
            value = self._scalars.get(name[0], name[0]) if name[0] not in self.case.bind else name[0]
            return str(value) if re.fullmatch(r"\w+", str(value)) else f"({value})"

        return re.sub(r"[A-Za-z_]\w*", value_of, text)


def _bind_io(io: IOContract, binder: Binder, path: str) -> IOContract:
    args = tuple(bind_arg(arg, binder, f"{path}.args[{index}]") for index, arg in enumerate(io.args))
    launch = None if io.launch is None else bind_launch(io.launch, binder, f"{path}.launch", io.args)
    return io.model_copy(update={"args": args, "launch": launch})


def bind_arg(arg: ArgSpec, binder: Binder, path: str) -> ArgSpec:
    """`arg` with numbers for symbols; unchanged where a problem was noted."""
    if arg.is_tensor:
        spec = arg.tensor_spec and _bind_tensor(arg, arg.tensor_spec, binder, f"{path}.tensor_spec")
        return arg.model_copy(update={"tensor_spec": spec})
    if arg.type not in (ArgType.INT, ArgType.FLOAT) or not isinstance(arg.value, str):
        return arg
    if arg.type is ArgType.INT:
        return arg.model_copy(update={"value": binder.whole(arg.value, f"{path}.value", low=-MAX_MAGNITUDE - 1)})
    number = binder.number(arg.value, f"{path}.value")
    return arg.model_copy(update={"value": None if number is None else float(number)})


def bind_launch(launch: LaunchSpec, binder: Binder, path: str, args: Iterable[ArgSpec], remark: str = "") -> LaunchSpec:
    """`launch`, of a kernel with these arguments, with numbers for symbols. The executor compares the block's size with
    the device's limit. `remark`: see `Binder.beside`."""
    with binder.beside(args, remark):
        return _bind_launch(launch, binder, path)


def _bind_launch(launch: LaunchSpec, binder: Binder, path: str) -> LaunchSpec:
    update: dict[str, object] = {}
    for name in ("grid", "block", "cluster"):
        extents: Sequence[int | str] | None = getattr(launch, name)
        if extents is not None:
            update[name] = tuple(
                binder.whole(extent, f"{path}.{name}.{axis}", low=1, high=_MAX_LAUNCH)
                for axis, extent in zip("xyz", extents, strict=True)
            )
    for name, low in (("num_warps", 1), ("num_stages", 0), ("shared_mem", 0)):
        extent: int | str | None = getattr(launch, name)
        if extent is not None:
            update[name] = binder.whole(extent, f"{path}.{name}", low=low, high=_MAX_LAUNCH)
    return launch.model_copy(update=update)


def bind_work(work: Work, binder: Binder) -> Work:
    """`work` with numbers for symbols. What cannot be a number of bytes or operations is noted."""
    given = {"bytes": work.bytes, "flops": work.flops}
    update = {name: binder.whole(value, f"work.{name}", low=0) for name, value in given.items() if value is not None}
    return work.model_copy(update=update)


def _bind_tensor(arg: ArgSpec, spec: TensorSpec, binder: Binder, path: str) -> TensorSpec:
    given = [binder.whole(extent, f"{path}.shape[{index}]", low=0) for index, extent in enumerate(spec.shape)]
    dims = tuple(extent for extent in given if extent is not None)
    update: dict[str, object] = {}
    if spec.init is not None:
        update["init"] = _bind_init(spec.init, spec.info, binder, f"{path}.init")
    if len(dims) < len(given):
        return spec.model_copy(update=update)
    if math.prod(max(extent, 1) for extent in dims) >= _MAX_ELEMENTS:  # one without elements has strides all the same
        binder.complain(f"{path}.shape", f"{list(dims)} has more elements than can be counted")
        return spec.model_copy(update=update)
    if spec.data is not None:
        update["data"] = _bind_data(spec.data, spec, dims, binder, f"{path}.data")
    init = update.get("init")
    if isinstance(init, InitSpec) and init is not spec.init and (reason := _runs_over(init, spec.info, dims)):
        binder.complain(f"{path}.init", reason)
    if arg.is_input and spec.init is None and spec.data is None and math.prod(dims) > 0:
        hint = ", or role output if the kernel only writes it" if arg.is_output else ""
        binder.complain(path, f"an {arg.role} tensor needs init or data{hint}")
    return spec.model_copy(update={**update, "shape": dims})


def _bind_data(data: TensorData, spec: TensorSpec, dims: tuple[int, ...], binder: Binder, path: str) -> TensorData:
    if data.shape is not None and data.shape != dims:
        binder.complain(f"{path}.shape", f"{list(data.shape)} is not the tensor_spec's shape {list(dims)}")
    return data.model_copy(update={"shape": dims, "dtype": spec.dtype})


def _bind_init(init: InitSpec, info: DTypeInfo, binder: Binder, path: str) -> InitSpec:
    update: dict[str, object] = {}
    for name, default in KIND_PARAMETERS[init.kind].items():
        value = getattr(init, name)
        if value is None:
            value = _bound_default(name, info) if default is None else default
        number = value if isinstance(value, bool) else binder.number(value, f"{path}.{name}")
        if number is None:
            return init
        if reason := _unusable(init.kind, name, number, info):
            binder.complain(f"{path}.{name}", reason)
            return init
        update[name] = float(number) if init.kind is InitKind.RANDN else as_element(info, number)
    bound = init.model_copy(update=update)
    if init.kind is InitKind.UNIFORM and bound.low > bound.high:  # type: ignore[operator]  # both are numbers now
        binder.complain(path, f"low {bound.low} is above high {bound.high}{_defaulted(init)}")
    return bound


def _runs_over(init: InitSpec, info: DTypeInfo, dims: tuple[int, ...]) -> str | None:
    """Why the last number of an `arange` cannot be had, or None."""
    if init.kind is not InitKind.ARANGE or 0 in dims or info.category is Category.BOOL:
        return None
    start, step = (value if isinstance(value, int | float) else 0 for value in (init.start, init.step))
    last = start + step * ((dims[-1] if dims else 1) - 1)
    reason = unrepresentable(info, last)
    return None if reason is None else f"its last number is {last}: {reason}"


def _bound_default(name: str, info: DTypeInfo) -> float:
    return _UNIFORM_HIGH[info.category] if name == "high" else 0


def _defaulted(init: InitSpec) -> str:
    absent = [name for name in ("low", "high") if getattr(init, name) is None]
    return f" ({absent[0]} is the default)" if absent else ""


def _unusable(kind: InitKind, name: str, number: float, info: DTypeInfo) -> str | None:
    """Why `number` cannot be the parameter `name`, or None."""
    if name != "fill_value" and not math.isfinite(number):
        return f"must be finite, got {number}"
    if name == "std" and number < 0:
        return f"must be at least 0, got {number}"
    return None if kind is InitKind.RANDN and info.exact else unrepresentable(info, number)

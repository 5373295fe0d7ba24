"""The rules about one argument list that hold whatever the symbols stand for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pydantic import JsonValue

from daemon.contract.binding import KIND_PARAMETERS
from daemon.contract.dtypes import Category
from daemon.contract.expressions import MAX_MAGNITUDE, ExpressionError, names_in, parse_expression
from daemon.contract.fields import Extent, literal_float
from daemon.contract.problems import ProblemLog, shown
from daemon.contract.tensors import ArgSpec, ArgType, InitKind, InitSpec, LaunchSpec, Role, TensorSpec

MAX_EVALUATIONS = 50_000  # expressions of one contract times its cases
# To read one takes some microseconds a character, a wrong one half a millisecond, and others wait for who reads it.
MAX_WRITTEN, MAX_WRITTEN_CHARACTERS = 10_000, 100_000  # expressions among a kernel's arguments
MAX_EVALUATED_CHARACTERS = 1_000_000  # of all expressions of one contract times its cases


def written_expressions(raw: JsonValue) -> list[str]:
    """What would be read as expressions in an argument that has not been checked yet."""
    values: list[JsonValue] = []
    match raw:
        case {"tensor_spec": {**spec}}:
            shape, init = spec.get("shape"), spec.get("init")
            values += shape if isinstance(shape, list) else []
            values += [value for key, value in init.items() if key != "kind"] if isinstance(init, dict) else []
        case {"type": kind, "value": value} if kind != ArgType.STR:
            values.append(value)
    return [value for value in values if isinstance(value, str)]


def checked_arg(arg: ArgSpec, path: str, log: ProblemLog) -> ArgSpec:
    """`arg` with its value cast to its declared type; what breaks a rule is noted in `log`."""
    if arg.is_tensor:
        _check_tensor_arg(arg, path, log)
        return arg
    if arg.tensor_spec is not None:
        log.add(f"{path}.tensor_spec", f"belongs to a tensor, and the type is {arg.type}: give value instead")
    if arg.role is not Role.INPUT:
        log.add(f"{path}.role", f"only a tensor can be {arg.role}, and the type is {arg.type}")
    if arg.value is None:
        if arg.tensor_spec is None:
            log.add(f"{path}.value", f"is required for type {arg.type}")
        return arg
    return arg.model_copy(update={"value": _cast(arg.type, arg.value, f"{path}.value", log)})


def _check_tensor_arg(arg: ArgSpec, path: str, log: ProblemLog) -> None:
    if arg.value is not None:
        log.add(f"{path}.value", "belongs to a scalar, and the type is tensor: give tensor_spec instead")
    if arg.is_meta:
        log.add(f"{path}.is_meta", "a tensor cannot be a constexpr")
    if arg.tensor_spec is None:
        if arg.value is None:
            log.add(f"{path}.tensor_spec", "is required for type tensor")
        return
    _check_content(arg, arg.tensor_spec, f"{path}.tensor_spec", log)


def _check_content(arg: ArgSpec, spec: TensorSpec, path: str, log: ProblemLog) -> None:
    if spec.init is not None and spec.data is not None:
        log.add(path, "give init or data, not both")
    if spec.init is not None:
        _check_init(spec.init, spec, f"{path}.init", log)
    if spec.data is not None and spec.data.dtype not in (None, spec.dtype):
        log.add(f"{path}.data.dtype", f"{spec.data.dtype} is not the tensor_spec's dtype {spec.dtype}")
    if not arg.is_output and (spec.atol is not None or spec.rtol is not None):
        log.caution(path, "atol and rtol have no effect on an input")


def _check_init(init: InitSpec, spec: TensorSpec, path: str, log: ProblemLog) -> None:
    if init.kind is InitKind.FULL and init.fill_value is None:
        log.add(f"{path}.fill_value", "is required for kind full")
    meaningful = KIND_PARAMETERS[init.kind]
    for name in ("mean", "std", "low", "high", "fill_value", "start", "step"):
        if getattr(init, name) is not None and name not in meaningful:
            log.caution(f"{path}.{name}", f"means nothing to kind {init.kind}")
    integral = spec.info.category in (Category.INT, Category.BOOL)
    if init.kind is InitKind.RANDN and integral and (init.mean is not None or init.std is not None):
        log.caution(path, f"mean and std mean nothing for {spec.dtype}: randn fills it uniformly over its range")


def _cast(kind: ArgType, value: bool | float | str, field: str, log: ProblemLog) -> bool | int | float | str | None:
    """`value` as its declared type. Text stays text for int and float: it is an expression, evaluated per case."""
    if kind is ArgType.STR or kind is ArgType.BOOL:
        expected = str if kind is ArgType.STR else bool
        if not isinstance(value, expected):
            words = "a text" if kind is ArgType.STR else "true or false"
            log.add(field, f"must be {words} for type {kind}, got {shown(value)}")
        return value
    if isinstance(value, bool):
        log.add(field, f"must be a number for type {kind}, got {str(value).lower()}")
        return value
    if isinstance(value, str):
        return value if _evaluable(kind, value, field, log) else None
    return float(value) if kind is ArgType.FLOAT else _cast_int(value, field, log)


def _cast_int(value: float, field: str, log: ProblemLog) -> int | float:
    if isinstance(value, float) and not value.is_integer():
        log.add(field, f"must be a whole number for type int, got {shown(value)}")
        return value
    if not -MAX_MAGNITUDE - 1 <= value <= MAX_MAGNITUDE:
        log.add(field, f"must fit 64 bits, got {shown(value)}")
    return int(value)


def _evaluable(kind: ArgType, text: str, field: str, log: ProblemLog) -> bool:
    if kind is ArgType.FLOAT and literal_float(text) is not None:
        return True
    try:
        parse_expression(text)
    except ExpressionError as error:
        log.add(field, error.message, error.suggest)
        return False
    return True


def expressions(args: Iterable[ArgSpec], launch: LaunchSpec | None) -> Iterator[str]:
    """Every text that is evaluated when a case is bound."""
    for arg in args:
        if arg.type in (ArgType.INT, ArgType.FLOAT) and isinstance(arg.value, str):
            yield arg.value
        if arg.tensor_spec is not None:
            yield from _texts(arg.tensor_spec.shape)
            if arg.tensor_spec.init is not None:
                init = arg.tensor_spec.init
                yield from _texts(getattr(init, name) for name in KIND_PARAMETERS[init.kind])
    if launch is not None:
        yield from _texts((*launch.grid, *launch.block, *(launch.cluster or ())))
        yield from _texts((launch.num_warps, launch.num_stages, launch.shared_mem))


def _texts(values: Iterable[Extent | object]) -> Iterator[str]:
    return (value for value in values if isinstance(value, str))


def symbols(texts: Iterable[str]) -> frozenset[str]:
    """The names used in `texts`; a text that is no expression (reported elsewhere) has none."""
    found: set[str] = set()
    for text in texts:
        try:
            found |= names_in(text)
        except ExpressionError:
            continue
    return frozenset(found)

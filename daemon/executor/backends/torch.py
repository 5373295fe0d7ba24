"""`torch`: a Python file with a class `Model`, or a targeted function, class or method."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import nn

from daemon.executor.backends._build_import import compiler_first
from daemon.executor.backends._triton_untuned import use_first_configs
from daemon.executor.source import Kernel, KernelFault, Source, fault_from, import_source, named

SPEC = {
    "io_required": False,
    "metadata_keys": ["function_name", "class_name", "method_name"],
    "python": True,
    "build": [],
    "answers": "either",
    "devices": ["cpu", "cuda"],
}
_DERIVED_SHAPE = (64, 64)


def load(source: Source) -> Kernel:
    """Import the file and find what the metadata points at."""
    return from_module(compiler_first(lambda: import_source(source, {"torch": torch, "nn": nn}), source), source)


def from_module(module: ModuleType, source: Source) -> Kernel:
    """The kernel in an imported module: shared with `torch_cuda`."""
    notes = use_first_configs(source)
    make_inputs = getattr(module, "get_inputs", None)
    make_init = getattr(module, "get_init_inputs", None)
    if name := source.metadata.get("function_name"):
        function = _find(module, name, "function")
        return _with_inputs(Kernel(function, make_inputs=make_inputs, notes=notes), function, source)
    model_class = _find_class(module, source)
    method = source.metadata.get("method_name") or "forward"
    _require_method(model_class, method)
    kernel = Kernel(_not_constructed, make_inputs=make_inputs, make_init_inputs=make_init, notes=notes)
    _with_inputs(kernel, getattr(model_class, method), source)

    def construct(args: list[Any], kwargs: dict[str, Any]) -> Any:
        args, kwargs = _as_meant(model_class, args, kwargs)
        try:
            instance = model_class(*args, **kwargs)
        except BaseException as error:
            fault = fault_from(error, source.folder, "compile_error", f"constructing {model_class.__name__}")
            if isinstance(error, TypeError) and not _takes(model_class, args, kwargs):
                fault.message += _where_from(args, kwargs)
            raise fault from error
        # Calling the instance runs hooks, as users of nn.Module expect.
        kernel.call = instance if method == "forward" and isinstance(instance, nn.Module) else getattr(instance, method)
        return instance

    kernel.construct = construct
    return kernel


def _where_from(args: list[Any], kwargs: dict[str, Any]) -> str:
    """A sentence about where the arguments of a constructor come from, for a constructor that does not take them."""
    given = [f"{len(args)} by position"] if args else []
    given += [f"{', '.join(map(str, kwargs))} by name"] if kwargs else []
    if not given:
        return " (what a constructor needs comes from get_init_inputs())"
    return f" (get_init_inputs() of the reference gives {' and '.join(given)}: the constructor has to take them)"


def _as_meant(model_class: Any, args: list[Any], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments that the constructor gets. KernelBook writes `[[by position], {by name}]`. That form is meant if
    the names are the constructor's, or if it would not take the two as they stand."""
    match args:
        case [list() | tuple() as inner, dict() as by_name] if not kwargs and all(
            isinstance(key, str) for key in by_name
        ):
            signature = inspect.signature(model_class)
            is_named = bool(by_name) and by_name.keys() <= signature.parameters.keys()
            if _fits(signature, inner, by_name) and (is_named or not _fits(signature, args, {})):
                return list(inner), by_name
    return args, kwargs


def _fits(signature: inspect.Signature, args: Sequence[Any], kwargs: dict[str, Any]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def _takes(model_class: Any, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a constructor takes these arguments. That of `nn.Module`, where a class has none of its own, takes none,
    whatever its signature says."""
    if getattr(model_class, "__init__", None) is nn.Module.__init__:
        return not (args or kwargs)
    return _fits(inspect.signature(model_class), args, kwargs)


def _not_constructed(*_: Any) -> Any:
    raise KernelFault("harness_error", "the module was called before it was constructed")


def _find(module: ModuleType, name: str, what: str) -> Any:
    found = named(module, name)
    if found is None:
        raise KernelFault("compile_error", f"no {what} {name!r} in the source; it defines {_defined(module)}")
    if not callable(found):
        raise KernelFault("compile_error", f"{name!r} is of type {type(found).__name__}, not a {what}")
    return found


def _find_class(module: ModuleType, source: Source) -> Any:
    if name := source.metadata.get("class_name"):
        return _find(module, name, "class")
    names = ("ModelNew", "Model") if source.side == "candidate" else ("Model",)
    for name in names:
        if isinstance(getattr(module, name, None), type):
            return getattr(module, name)
    wanted = " or ".join(names)
    if other := next((name for name in names if hasattr(module, name)), None):
        raise KernelFault("compile_error", _no_class(other, getattr(module, other)))
    is_swapped = source.side == "reference" and isinstance(getattr(module, "ModelNew", None), type)
    raise KernelFault(
        "compile_error",
        f"no class {wanted} in the source; it defines {_defined(module)}. "
        "Name the target with metadata.class_name or metadata.function_name"
        + (": ModelNew is a candidate's, are the two kernels swapped?" if is_swapped else ""),
    )


def _no_class(name: str, value: Any) -> str:
    """What stands there under a class's name, and what to type in its place."""
    said = f"{name!r} in the source is of type {type(value).__name__}, not a class"
    if isinstance(value, functools.partial) and isinstance(value.func, type):
        bound = [*map(_shown, value.args), *(f"{key}={_shown(item)}" for key, item in value.keywords.items())]
        begin = f"super().__init__({', '.join([*bound, '*args', '**kwargs'])})"
        return (
            f"{said}: write class {name}({value.func.__name__}) with an "
            f"__init__(self, *args, **kwargs) that calls {begin}"
        )
    if isinstance(value, nn.Module):
        made = type(value).__name__
        return (
            f"{said}: evald constructs it, so that both sides have the same weights. Write {name} = {made}, and let "
            "get_init_inputs() return what its constructor needs"
        )
    return (
        f"{said}: if it is called with the inputs, name it with metadata.function_name; if it makes a module, put what "
        f"it does into the __init__ of a class {name}(nn.Module)"
    )


def _shown(value: Any) -> str:
    return repr(value)[:40] if isinstance(value, bool | int | float | str) else type(value).__name__


def _require_method(model_class: Any, method: str) -> None:
    # nn.Module defines a forward of its own that only raises: that one does not count.
    found = getattr(model_class, method, None)
    if found is None or found is getattr(nn.Module, method, None):
        own = [name for name in vars(model_class) if name == "__call__" or not name.startswith("__")]
        raise KernelFault(
            "compile_error",
            f"class {model_class.__name__} has no method {method!r}; it has {', '.join(map(repr, own)) or 'none'}. "
            "Name the one to call with metadata.method_name",
        )


def _defined(module: ModuleType) -> str:
    own = [
        name
        for name, value in vars(module).items()
        if callable(value) and getattr(value, "__module__", None) == module.__name__
    ]
    return ", ".join(own) or "nothing callable"


def _with_inputs(kernel: Kernel, function: Callable[..., Any], source: Source) -> Kernel:
    """Add what the signature of `function` tells: required parameters, and inputs where the source makes none."""
    kernel.parameters = [parameter.name for parameter in _required(function) or ()] or None
    if kernel.make_inputs is None:
        kernel.make_inputs = derived_inputs(function, source)
        kernel.guesses_inputs = kernel.make_inputs is not None
    return kernel


def _required(function: Callable[..., Any]) -> list[inspect.Parameter] | None:
    """Parameters without a default, `self` left out; None where there is no signature to read."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [
        parameter
        for parameter in parameters
        if parameter.name != "self" and parameter.kind not in variadic and parameter.default is parameter.empty
    ]


def derived_inputs(function: Callable[..., Any], source: Source) -> Callable[[], Any] | None:
    """Inputs from annotations and defaults; None unless every required parameter has one that says enough."""
    if source.args:
        return None
    required = _required(function)
    if required is None:
        return None
    makers: list[Callable[[], Any]] = []
    for parameter in required:
        maker = _maker_for(parameter.annotation)
        if maker is None:
            return None
        makers.append(maker)
    return lambda: [make() for make in makers]


def _maker_for(annotation: Any) -> Callable[[], Any] | None:
    by_name: dict[str, Callable[[], Any]] = {
        "Tensor": lambda: torch.randn(_DERIVED_SHAPE),
        "int": lambda: 1,
        "float": lambda: 1.7,  # unlike one, it matters whether it is used
        "bool": lambda: True,
    }
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return by_name.get(name.rpartition(".")[2])

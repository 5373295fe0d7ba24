"""What errors of libraries mean in a cell."""

from __future__ import annotations

import pytest
import torch

from daemon.executor.source import advice


def test_who_asks_triton_for_a_driver_where_its_interpreter_stands_in_for_a_gpu_is_told() -> None:
    """Gluon does, which has no interpreter."""
    said = "0 active drivers ([]). There should only be one."
    meaning = advice.on(RuntimeError(said), said)
    assert "Triton's in its interpreter, which has no driver to ask, and no Gluon" in meaning


def test_who_forgets_the_constructor_of_the_base_is_told_where_it_belongs() -> None:
    class Forgetful(torch.nn.Module):
        def __init__(self) -> None:
            self.layer = torch.nn.Linear(2, 2)

    with pytest.raises(AttributeError) as caught:
        Forgetful()
    assert "super().__init__() has to come first" in advice.on(caught.value, str(caught.value))


def test_who_hands_pycuda_what_it_does_not_take_is_told_what_it_takes() -> None:
    """A holder of a tensor's pointer, as many examples have it, or a Python integer."""
    said = "invalid type on parameter #0 (0-based)"
    assert "takes tensors, numpy scalars" in advice.on(TypeError(said), said)


def test_an_error_of_the_kernel_itself_gets_no_remark() -> None:
    assert advice.on(ValueError("shapes differ"), "shapes differ") == ""


@pytest.mark.parametrize(
    ("used", "remark"),
    [
        ("F.relu", " (import torch.nn.functional as F is missing)"),
        ("math.pi", " (import math is missing)"),
        ("Optional[int]", " (from typing import Optional is missing)"),
        ("own_helper()", ""),
    ],
)
def test_a_name_that_an_import_would_bring_along_is_told_its_line(used: str, remark: str) -> None:
    with pytest.raises(NameError) as caught:
        eval(used, {})
    assert advice.on(caught.value, str(caught.value)) == remark


@pytest.mark.parametrize(
    ("said", "remark"),
    [
        ("<urlopen error [Errno -3] Temporary failure in name resolution>", "there is no network here"),
        ("[Errno 101] Network is unreachable", "there is no network here"),
        ("Command '['pip', 'install', 'einops']' returned non-zero exit status 1.", "nothing can be installed here"),
    ],
)
def test_who_wants_something_from_elsewhere_is_told_that_nothing_comes_in(said: str, remark: str) -> None:
    assert f" ({remark}" in advice.on(OSError(said), said)


def test_who_imports_what_is_not_there_is_told_where_it_was_looked_for() -> None:
    with pytest.raises(ModuleNotFoundError) as caught:
        exec("import no_such_module_as_this")
    assert advice.on(caught.value, str(caught.value)) == (
        " (neither the Python of the host that judges has it, nor what this kernel gets to see of the bundle)"
    )

"""What is told of an error of a bundle's code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from daemon.executor.source.faults import fault_from


def raised(folder: Path, *names: str) -> BaseException:
    """An error that went through functions of files of these names, the first in `folder`."""
    scope: dict[str, object] = {}
    text = "def step{}():\n    {}\n"
    for number, name in enumerate(reversed(names)):
        body = f"step{number - 1}()" if number else "raise ValueError('as it is')"
        exec(text.format(number, body), scope)
        step: Any = scope[f"step{number}"]
        step.__code__ = step.__code__.replace(co_filename=name)
    try:
        scope[f"step{len(names) - 1}"]()  # type: ignore[operator]
    except ValueError as error:
        return error
    raise AssertionError


@pytest.mark.parametrize("name", ["\ud800.py", "\udc80.py", "nul\0.py", "<string>"])
@pytest.mark.parametrize("is_inside", [True, False])
def test_whatever_code_calls_its_file_its_error_is_told_with_the_frames_of_the_bundle(
    tmp_path: Path, name: str, is_inside: bool
) -> None:
    own = str(tmp_path / "kernel.py")
    (tmp_path / "kernel.py").write_text("\n    the_line_that_calls()\n")
    error = raised(tmp_path, own, f"{tmp_path}/{name}" if is_inside else name)
    fault = fault_from(error, tmp_path, "runtime_error", "in the call")
    assert fault.message == "ValueError in the call: as it is"
    assert "the_line_that_calls()" in str(fault.details)
    assert str(fault.details).splitlines()[-1] == "ValueError: as it is"

"""Modules made at random on a GPU: each passes against itself, and not with an element of an answer spoilt."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "corpus"))

import random_modules

from daemon.executor.local import LocalEngine

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("number", range(8))
def test_a_module_passes_against_itself_and_not_with_an_element_spoilt(
    engine: LocalEngine, tmp_path: Path, number: int
) -> None:
    assert not [*random_modules.problems(engine, number, tmp_path)]

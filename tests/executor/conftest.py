from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from executor_bundles import Doc, Judged, JudgeOne, write_bundle
from executor_settings import small_settings

from daemon.engine import JobSpec
from daemon.executor.cells.zygotes import Zygotes
from daemon.executor.local import LocalEngine


@pytest.fixture(scope="session")
def engine_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evald")


@pytest.fixture(scope="session")
def engine(engine_home: Path) -> Iterator[LocalEngine]:
    """One engine for all tests of a worker: its judge lives on, every evaluation has its own cells."""
    engine = LocalEngine(small_settings(engine_home))
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def judge_in() -> Callable[[LocalEngine, Path], JudgeOne]:
    """Evaluate contracts in a given engine."""

    def bound(engine: LocalEngine, folder: Path) -> JudgeOne:
        def judge(doc: Doc, **files: str) -> Judged:
            bundle = write_bundle(folder, doc, files)
            return Judged(engine.evaluate(JobSpec(bundle.name, "test", bundle), lambda _: None))

        return judge

    return bound


@pytest.fixture
def judge(engine: LocalEngine, tmp_path: Path, judge_in: Callable[[LocalEngine, Path], JudgeOne]) -> JudgeOne:
    """Evaluate one contract with the session's engine; `files` are further files of the bundle, `__` for the dot."""
    return judge_in(engine, tmp_path)


@pytest.fixture(scope="module")
def zygotes() -> Iterator[Zygotes]:
    """For tests that ask nothing of what cells are forked from, but cells."""
    made = Zygotes()
    yield made
    made.close()

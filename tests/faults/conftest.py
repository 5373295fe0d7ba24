"""What every fault needs to be tried: a real engine with small limits, and a place for real daemons that rehearse."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

TESTS = Path(__file__).parent.parent
for folder in (TESTS, TESTS / "executor", TESTS / "service"):
    if str(folder) not in sys.path:
        sys.path.append(str(folder))

from executor_bundles import Doc, Judged, JudgeOne, write_bundle  # noqa: E402 - found in the folders just named
from executor_settings import MIB, cell_uid, small_settings  # noqa: E402
from service_rehearsal import Place, place  # noqa: E402

from daemon.engine import JobSpec  # noqa: E402
from daemon.executor.local import LocalEngine  # noqa: E402

SMALL = {"uid_base": cell_uid(20), "memory_bytes": 1024 * MIB, "tmp_bytes": 32 * MIB, "tmp_inodes": 1000}


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """One engine for all tests of a worker. Its judge lives on; every evaluation has cells of its own."""
    engine = LocalEngine(small_settings(tmp_path_factory.mktemp("faults"), slots=2, sandbox=SMALL))
    engine.start()
    yield engine
    engine.close()


@pytest.fixture
def judge(engine: LocalEngine, tmp_path: Path) -> JudgeOne:
    """Evaluate one contract."""

    def one(doc: Doc, **files: str) -> Judged:
        bundle = write_bundle(tmp_path, doc, files)
        return Judged(engine.evaluate(JobSpec(bundle.name, "test", bundle), lambda _: None))

    return one


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Place]:
    """A home with its own SQLite file; whatever daemon still runs at the end is killed."""
    with place(tmp_path / "home") as found:
        yield found


@pytest.fixture
def quick_disk() -> Iterator[Path]:
    """In memory: for thousands of writes, each of which waits for the disk."""
    with TemporaryDirectory(dir="/dev/shm", ignore_cleanup_errors=True) as folder:
        yield Path(folder)

"""What the tests of this folder share: whether there is a GPU, one engine on it, and the record of what was judged."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gpu_bundles import FOLDER, NOT_OF_THE_BUNDLE, Judged, candidate_type, expected, parsed, table

from daemon.config import Deadlines, Sandbox, Settings, TimingDefaults
from daemon.engine import JobSpec
from daemon.errors import EvaldError
from daemon.executor.host.devices import Device, cuda_of_torch, found
from daemon.executor.local import LocalEngine

MIB = 1 << 20
RECORD = pytest.StashKey[list[Judged]]()


@functools.cache
def missing() -> str | None:
    """Why nothing can be judged on a GPU here; None where it can. NVML is asked once."""
    try:
        gpus = found()
    except EvaldError as error:
        return f"no NVIDIA GPU here: {error.message}"
    if not gpus:
        return "no NVIDIA GPU here"
    return None if cuda_of_torch() else "torch is a build for CPUs here"


def pytest_configure(config: pytest.Config) -> None:
    config.stash[RECORD] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("gpu") is not None and (reason := missing()) is not None:
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How long each bundle took; the table of verdicts into the file that EVALD_TEST_TABLE names."""
    record = config.stash.get(RECORD, [])
    if not record:
        return
    terminalreporter.section("bundles judged")
    for one in record:
        mark = " " if one.as_expected else "!"
        terminalreporter.write_line(f"{one.wall_s:7.1f} s {mark} {one.name}: {one.evaluation.verdict}")
    terminalreporter.write_line(f"{sum(one.wall_s for one in record):7.1f} s   {len(record)} bundles")
    if place := os.environ.get("EVALD_TEST_TABLE"):
        Path(place).write_text(table(sorted(record, key=lambda one: one.name)), "utf-8")


@pytest.fixture(scope="session")
def gpu() -> Device:
    """The first GPU of this host, which the engine judges on."""
    return found()[0]


def gpu_settings(home: Path, uid_step: int, **changes: object) -> Settings:
    """Short measurements; user ids that no other test process of this host gives to its cells."""
    settings = Settings.model_validate(
        {
            "home": home,
            "sandbox": Sandbox(uid_base=1_000_000 + 10_000 * (os.getpid() % 100_000) + uid_step),
            "deadlines": Deadlines(build_s=240, start_s=90),
            "timing": TimingDefaults(max_s=0.3, target_rse=0.05, min_rounds=5, gpu_arena_bytes=512 * MIB),
            **changes,
        }
    )
    settings.paths.create()
    return settings


@pytest.fixture(scope="session")
def settings_in() -> Callable[..., Settings]:
    """Settings for a further engine."""
    return gpu_settings


@pytest.fixture(scope="session")
def engine(gpu: Device, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalEngine]:
    """One engine for the whole session: its judge must outlive everything that bundles do to the GPU."""
    home = tmp_path_factory.mktemp("evald")
    engine = LocalEngine(gpu_settings(home, 5_000, device="cuda", gpus=(gpu.uuid,)))
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> list[Judged]:
    """The bundles judged so far, in order."""
    return request.config.stash[RECORD]


@pytest.fixture(scope="session")
def judge(
    engine: LocalEngine, record: list[Judged], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Judged]:
    """Judge a bundle of this suite, once a session whoever asks. Skips one that this host cannot serve."""

    def judged(name: str) -> Judged:
        if known := [one for one in record if one.name == name]:
            return known[0]
        lacking = [package for package in expected(name).needs if importlib.util.find_spec(package) is None]
        if lacking:
            pytest.skip(f"needs {', '.join(lacking)}")
        requires = parsed(name).request.requires
        if requires is not None and (reason := engine.refusal(requires)) is not None:
            pytest.skip(reason)
        folder = tmp_path_factory.mktemp("bundle") / name
        shutil.copytree(FOLDER / name, folder, ignore=shutil.ignore_patterns(*NOT_OF_THE_BUNDLE))
        start = time.monotonic()
        evaluation = engine.evaluate(JobSpec(name, name, folder), lambda _: None)
        one = Judged(name, candidate_type(name), expected(name), evaluation, time.monotonic() - start)
        record.append(one)
        return one

    return judged

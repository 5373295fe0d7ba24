"""What holds for the engine on a GPU whatever the bundle: who may run, what a cell sees, the CPU beside it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from gpu_bundles import FOLDER, NOT_OF_THE_BUNDLE, Judged, parse_folder

import daemon
from daemon.config import Settings
from daemon.contract import Requirements
from daemon.engine import JobSpec, Progress
from daemon.errors import HarnessError
from daemon.executor.host.devices import Device
from daemon.executor.local import LocalEngine
from daemon.verdict import Verdict

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def seen(judge: Callable[[str], Judged]) -> dict[str, str]:
    """What a kernel printed of what it can see and reach."""
    judged = judge("isolation-report")
    assert judged.evaluation.verdict is Verdict.PASSED, judged.text
    return judged.report


def test_a_cell_sees_its_own_gpu_and_no_other(seen: dict[str, str], gpu: Device) -> None:
    assert seen["gpu_count"] == "1"
    assert seen["gpu_uuid"] in (gpu.uuid or "")
    assert seen["gpu_nodes"] == f"nvidia{gpu.minor}"


@pytest.mark.parametrize("what", ["inet", "connect", "shadow", "write_usr", "write_node"])
def test_a_cell_with_a_gpu_reaches_nothing_else(seen: dict[str, str], what: str) -> None:
    assert seen[what].startswith("refused:"), seen[what]


def test_a_cell_with_a_gpu_sees_of_roots_home_only_where_python_lies(seen: dict[str, str]) -> None:
    needed = [*sys.path, sys.prefix, sys.base_prefix, os.path.realpath(sys.executable), daemon.__file__]
    below_root = {Path(place).parts[2] for place in needed if Path(place).parts[:2] == ("/", "root")}
    assert {name for name in seen["root"].split(",") if name} <= below_root


def test_a_cell_with_a_gpu_runs_under_a_user_of_its_own(seen: dict[str, str]) -> None:
    assert seen["uid"] not in ("0", str(os.getuid()))


def test_what_a_contract_requires_is_compared_with_the_gpu_and_a_fitting_one_is_judged(
    engine: LocalEngine, gpu: Device, tmp_path: Path
) -> None:
    major, minor = gpu.capability
    contract = json.loads((FOLDER / "torch-function-and-method" / "contract.json").read_text("utf-8"))
    contract["requires"] = {
        "gpu": gpu.name.split()[-1],
        "min_capability": f"{major}.{minor}",
        "min_memory_gib": gpu.memory_bytes // 2**31,
        "gpus": 1,
    }
    bundle = copy_of("torch-function-and-method", tmp_path)
    (bundle / "contract.json").write_text(json.dumps(contract), "utf-8")
    requires = parse_folder(bundle).request.requires
    assert requires is not None
    assert engine.refusal(requires) is None
    assert engine.evaluate(JobSpec("fits", "fits", bundle), lambda _: None).verdict is Verdict.PASSED


@pytest.mark.parametrize(
    ("requires", "words"),
    [
        ({"gpu": "Voodoo"}, "Voodoo"),
        ({"min_capability": "99.0"}, "99.0"),
        ({"min_memory_gib": 100_000}, "100000"),
    ],
    ids=["name", "capability", "memory"],
)
def test_what_this_gpu_cannot_serve_is_refused_with_the_reason(
    engine: LocalEngine, gpu: Device, requires: dict[str, object], words: str
) -> None:
    refusal = engine.refusal(Requirements.model_validate(requires))
    assert refusal is not None
    assert words in refusal
    assert gpu.name in refusal


def test_device_cpu_judges_on_the_cpu_although_there_is_a_gpu(
    settings_in: Callable[..., Settings], tmp_path: Path
) -> None:
    engine = LocalEngine(settings_in(tmp_path / "home", 8_000, device="cpu"))
    try:
        evaluation = engine.evaluate(
            JobSpec("cpu", "cpu", copy_of("torch-function-and-method", tmp_path)), lambda _: None
        )
        needs_gpu = engine.refusal(Requirements(min_capability="8.0"))
    finally:
        engine.close()
    assert evaluation.verdict is Verdict.PASSED, evaluation.message
    assert evaluation.environment.device == "cpu"
    assert evaluation.environment.device_uuid is None
    assert [case.timing.mode for case in evaluation.cases if case.timing] == ["stream"]
    assert needs_gpu is not None and "CPU" in needs_gpu


AT_WORK = """
import time, torch
while True:
    torch.cuda._sleep(int(4e8))
    torch.cuda.synchronize()
    print("working", flush=True)
    time.sleep(0.2)
"""


@contextmanager
def stranger(program: str) -> Iterator[int]:
    """The pid of a process of others that runs this program, which has said that it is at work."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process.pid
        finally:
            process.kill()


def test_no_bundle_is_charged_with_the_work_of_a_process_of_others(
    settings_in: Callable[..., Settings], gpu: Device, tmp_path: Path
) -> None:
    engine = LocalEngine(settings_in(tmp_path / "home", 7_000, device="cuda", gpus=(gpu.uuid,)))
    bundle = copy_of("torch-function-and-method", tmp_path)
    try:
        before = engine.evaluate(JobSpec("before", "before", bundle), lambda _: None)
        with (
            stranger(AT_WORK) as pid,
            pytest.raises(HarnessError, match=f"process {pid}, which is not evald's"),
        ):
            engine.evaluate(JobSpec("beside", "beside", bundle), lambda _: None)
    finally:
        engine.close()
    assert before.verdict is Verdict.PASSED, before.message


LITTLE_WORK = AT_WORK.replace("4e8", "4e6").replace("0.2", "0.02")


def test_a_time_that_was_taken_beside_work_of_others_is_labelled(
    settings_in: Callable[..., Settings], gpu: Device, tmp_path: Path
) -> None:
    """Work too short to be found before a round. Alone, the same kernel has no such label."""
    engine = LocalEngine(settings_in(tmp_path / "home", 9_000, device="cuda", gpus=(gpu.uuid,)))
    bundle = copy_of("torch-function-and-method", tmp_path)
    try:
        alone = engine.evaluate(JobSpec("alone", "alone", bundle), lambda _: None)
        with stranger(LITTLE_WORK) as pid:
            beside = engine.evaluate(JobSpec("beside", "beside", bundle), lambda _: None)
    finally:
        engine.close()
    assert ["shared_device" in case.labels for case in (*alone.cases, *beside.cases)] == [False, True]
    assert any(f"process {pid}" in note for note in beside.cases[0].notes)


def test_two_evald_on_one_gpu_take_turns_and_say_so(
    settings_in: Callable[..., Settings], engine: LocalEngine, gpu: Device, tmp_path: Path
) -> None:
    second = LocalEngine(settings_in(tmp_path / "home", 6_000, device="cuda", gpus=(gpu.uuid,)))
    bundle = copy_of("torch-function-and-method", tmp_path)
    told: list[str] = []
    begun, waiting = threading.Event(), threading.Event()

    def on_progress_of_first(progress: Progress) -> None:
        if not progress.text.startswith("waiting"):
            begun.set()

    def on_progress_of_second(progress: Progress) -> None:
        told.append(progress.text)
        if progress.text.startswith("waiting for the GPU"):
            waiting.set()

    try:
        second.start()
        with ThreadPoolExecutor(2) as pool:
            first_job = pool.submit(engine.evaluate, JobSpec("first", "first", bundle), on_progress_of_first)
            assert begun.wait(60)
            second_job = pool.submit(second.evaluate, JobSpec("second", "second", bundle), on_progress_of_second)
            verdicts = [first_job.result().verdict, second_job.result().verdict]
    finally:
        second.close()
    assert verdicts == [Verdict.PASSED, Verdict.PASSED]
    assert waiting.is_set(), told


def copy_of(name: str, folder: Path) -> Path:
    ignored = shutil.ignore_patterns(*NOT_OF_THE_BUNDLE)
    return Path(shutil.copytree(FOLDER / name, folder / name, ignore=ignored))

"""Which zygotes have begun when a judge imports its own half, and whose ids their cells have."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from executor_settings import cell_uid, small_settings

from daemon.executor.cells.settings import first_uid
from daemon.executor.host.devices import CPU, Device
from daemon.executor.programs import confinement
from daemon.executor.programs.confinement import Confinement
from daemon.executor.sandbox.policy import Policy

GPU = Device(kind="cuda", index=0, uuid="GPU-0", name="none", capability=(9, 0))
SEES_IT = {"CUDA_VISIBLE_DEVICES": "GPU-0"}


class Recorder:
    """In the place of a judge's zygotes: what each would be held by."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.begun: list[Policy] = []

    def of(self, policy: Policy, _timeout_s: float) -> None:
        self.begun.append(policy)


@pytest.mark.parametrize(
    ("device", "ahead", "sees_the_gpu"),
    [
        (GPU, None, [True]),  # builders compile, before the judge is asked
        (GPU, 2, [True]),
        (GPU, 0, [True, False]),
        (CPU, 0, [False]),  # the one zygote there is builds as well
    ],
)
def test_whoever_has_no_builders_has_the_zygote_begin_that_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device, ahead: int | None, sees_the_gpu: list[bool]
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(confinement, "Zygotes", lambda: recorder)
    settings = small_settings(tmp_path / "home", sandbox={"uid_base": cell_uid(5)}, ahead=ahead)
    Confinement(settings, 0, device).begin()
    assert [policy.environment.items() >= SEES_IT.items() for policy in recorder.begun] == sees_the_gpu


@pytest.mark.parametrize(
    ("uid_map", "chosen", "first"),
    [
        ("         0          0 4294967295\n", None, 2_100_000_000),
        ("0 100000 65536\n", None, 61_000),
        ("0 1000 1\n1 100000 65536\n", None, 61_000),
        ("0 0 2100000001\n", None, 61_000),
        ("0 0 1000\n1000 1000 4294966295\n", None, 2_100_000_000),
        ("0 0 4294967295\n", 5000, 5000),
    ],
)
def test_cells_have_uids_that_nobody_else_has_where_the_host_has_them(
    tmp_path: Path, uid_map: str, chosen: int | None, first: int
) -> None:
    (tmp_path / "uid_map").write_text(uid_map, "ascii")
    assert first_uid(chosen, tmp_path / "uid_map") == first

"""Settings for engines under test."""

from __future__ import annotations

import os
from pathlib import Path

from daemon.config import Deadlines, Sandbox, Settings, TimingDefaults
from daemon.executor.sandbox.policy import UIDS_PER_SLOT

MIB = 1024 * 1024


def cell_uid(engine: int = 0) -> int:
    """The first uid of the cells of one engine of this test process: no two engines on this machine share any."""
    return 1_000_000 + 10_000 * (os.getpid() % 100_000) + 10 * engine


def uids_from(first: int) -> range:
    """The uids of one kind of cell of one slot."""
    return range(first, first + UIDS_PER_SLOT)


def small_settings(home: Path, **changes: object) -> Settings:
    """Small limits and short measurements: what a test needs to see, no more."""
    sandbox: dict[str, object] = {
        "uid_base": cell_uid(),
        "memory_bytes": 2560 * MIB,
        "processes": 64,
        "open_files": 256,
        "tmp_bytes": 64 * MIB,
        "tmp_inodes": 2000,
        "file_bytes": 32 * MIB,
        **changes.pop("sandbox", {}),  # type: ignore[dict-item]
    }
    values: dict[str, object] = {
        "home": home,
        "device": "cpu",
        "sandbox": Sandbox.model_validate(sandbox),
        "control_interval_s": 0,
        "deadlines": Deadlines(build_s=500, start_s=300, call_s=30),
        "timing": TimingDefaults(max_s=0.1, target_rse=0.05, min_rounds=5, max_calls=64, arena_bytes=8 * MIB),
        **changes,
    }
    settings = Settings.model_validate(values)
    settings.paths.create()
    return settings

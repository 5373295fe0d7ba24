"""Asking ncu: which metrics it knows, the command line of a launch, and what keeps it from counting. No torch.

Options and texts are those of the Nsight Compute CLI manual. Clocks are left alone, so that ncu's durations are of the
same clocks as evald's; caches are flushed before every pass, as evald flushes them before every round.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from daemon.errors import HarnessError
from daemon.executor.host.devices import Device
from daemon.executor.host.supervise import output_of
from daemon.executor.tools.sections import BY_SECTION, TENSOR_PREFIX, figures_of

_ASK_LIMIT_S = 60.0
_CHIPS = {
    (8, 0): "ga100",
    (8, 6): "ga102",
    (8, 9): "ad102",
    (9, 0): "gh100",
    (10, 0): "gb100",
    (12, 0): "gb202",
}
_METRIC = re.compile(r'^\s*"?([a-z0-9]+__\w+)')
_PARAMETERS = Path("/proc/driver/nvidia/params")
PERMISSION = "ERR_NVGPUCTRPERM"
PERMISSION_HINT = (
    "echo 'options nvidia NVreg_RestrictProfilingToAdminUsers=0' | sudo tee /etc/modprobe.d/evald-counters.conf; "
    "then sudo update-initramfs -u (Debian, Ubuntu) or sudo dracut -f (Fedora, RHEL), and reboot"
)
FORBIDDEN = (
    f"the driver keeps hardware counters for administrators ({PERMISSION}), and a cell is never one, "
    "also when evald runs as root"
)
ENVIRONMENT = {
    # Without it ncu copies its section files into the home before it does anything.
    "NV_COMPUTE_PROFILER_DISABLE_STOCK_FILE_DEPLOYMENT": "1",
    # A cell may open no socket but a local one.
    "NV_COMPUTE_PROFILER_LOCAL_CONNECTION_OVERRIDE": "uds",
}


@dataclass(frozen=True)
class Plan:
    """What to ask for. `unavailable`: metrics that this ncu does not know for this chip, and why they are missing."""

    metrics: tuple[str, ...]
    sections: tuple[str, ...]
    unavailable: dict[str, str]


def plan(wanted: Iterable[str], known: frozenset[str]) -> Plan:
    """For each figure of the `wanted` sections the first of its metrics that is `known` (base names, as ncu lists
    them)."""
    metrics: dict[str, None] = {}
    sections: dict[str, None] = {}
    unavailable: dict[str, str] = {}
    wanted = tuple(wanted)
    for _, figure in figures_of(wanted):
        by_section = _section_for(figure.metrics[0])
        if by_section is not None:
            sections[by_section] = None
            continue
        found = next((metric for metric in figure.metrics if base_of(metric) in known), None)
        if found is not None:
            metrics[found] = None
        else:
            unavailable.update(dict.fromkeys(figure.metrics, "the installed ncu does not know it for this GPU"))
    if "roofline_metrics" in wanted:
        metrics.update(dict.fromkeys(tensor_metrics(known)))
    return Plan(tuple(metrics), tuple(sections), unavailable)


def base_of(metric: str) -> str:
    """The name of a metric without its suffixes: `dram__bytes_read.sum` -> `dram__bytes_read`."""
    return metric.partition(".")[0]


def tensor_metrics(known: frozenset[str]) -> list[str]:
    """The operations of the tensor cores by dtype. Where there is a total, its parts by sparsity are not counted
    again."""
    names = sorted(name for name in known if name.startswith(TENSOR_PREFIX))
    totals = {name for name in names if "_sparsity_" not in name}
    return [f"{name}.sum" for name in names if name in totals or name.partition("_sparsity_")[0] not in totals]


def _section_for(metric: str) -> str | None:
    matching = [prefix for prefix in BY_SECTION if metric.startswith(prefix)]
    return BY_SECTION[max(matching, key=len)] if matching else None


def command(ncu: str, asked: Plan, report: str) -> list[str]:
    """ncu's part of a command line; the program follows it. The table goes to the file `report`."""
    argv = [ncu, "--config-file", "off", "--log-file", report, "--csv", "--page", "raw", "--print-units", "base"]
    argv += ["--target-processes", "application-only", "--profile-from-start", "off", "--replay-mode", "kernel"]
    argv += ["--clock-control", "none", "--cache-control", "all", "--apply-rules", "no", "--check-exit-code", "no"]
    argv += [word for section in asked.sections for word in ("--section", section)]
    argv += ["--metrics", ",".join(asked.metrics)] if asked.metrics else []
    return [*argv, "--"]


def query(ncu: str, device: Device) -> list[str]:
    """The command that lists metrics. With the name of a chip ncu answers without touching a GPU."""
    chip = _CHIPS.get(device.capability)
    environment = [f"{name}={value}" for name, value in ENVIRONMENT.items()]
    return [
        "/usr/bin/env",
        *environment,
        ncu,
        "--config-file",
        "off",
        "--query-metrics",
        *(("--chips", chip) if chip else ()),
    ]


def known_in(listing: str) -> frozenset[str]:
    """Base names in what `query` printed, whether as columns or as CSV."""
    return frozenset(found[1] for line in listing.splitlines() if (found := _METRIC.match(line)))


def known(ncu: str, device: Device) -> frozenset[str]:
    """The metrics that the installed ncu has for `device`. Raises `HarnessError` when it does not say."""
    try:
        names = known_in(output_of(query(ncu, device), timeout_s=_ASK_LIMIT_S))
    except (TimeoutError, OSError) as error:
        raise HarnessError(f"ncu does not say which metrics it has: {error}") from error
    if not names:
        raise HarnessError("ncu lists no metrics for this GPU")
    return names


def restricted(parameters: str) -> bool | None:
    """Whether the driver gives counters to administrators only, by the text of its parameters; None: it does not
    say."""
    for line in parameters.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "RmProfilingAdminOnly":
            return value.strip() != "0"
    return None


def driver_restricts() -> bool | None:
    """`restricted`, of the driver that runs here."""
    try:
        return restricted(_PARAMETERS.read_text("utf-8", errors="replace"))
    except OSError:
        return None


def why_nothing(messages: Iterable[str]) -> str:
    """Words for a report without a launch, from ncu's own messages. For people: nothing is decided by it."""
    messages = tuple(messages)
    if any(PERMISSION in message for message in messages):
        return f"{FORBIDDEN}; evald doctor has the line to type"
    errors = [message for message in messages if message.startswith(("==ERROR==", "==WARNING=="))]
    said = errors or list(messages[-3:])
    return f"ncu recorded no launch: {' '.join(said)[:500]}" if said else "ncu recorded no launch, and said nothing"

"""Which figures a section holds, and which of ncu's metrics each of them is. Data; nothing is measured here.

Names of metrics are those of `ncu --query-metrics` and of ncu's own section files (Nsight Compute, "Metrics
Reference"). They differ between versions and chips, so a figure lists alternatives, and the first that the installed
ncu knows is taken. Units are in the names of figures: `_pct` is 0..100.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

PEAK_ELAPSED = "avg.pct_of_peak_sustained_elapsed"
PEAK_ACTIVE = "avg.pct_of_peak_sustained_active"
DURATION = "gpu__time_duration.sum"
TENSOR_PREFIX = "sm__ops_path_tensor_src_"


class Combine(StrEnum):
    """How a figure of several launches becomes one."""

    SUM = "sum"  # bytes, counts, times: per call
    MEAN = "mean"  # rates and shares: weighted by the time each launch took
    MAX = "max"  # resources of a launch


@dataclass(frozen=True)
class Figure:
    """One figure. `metrics`: ncu's names for it, best first. `scale`: from base units (byte, second, hertz) to those of
    the name."""

    name: str
    metrics: tuple[str, ...]
    combine: Combine = Combine.MEAN
    scale: float = 1.0


def _pipe(name: str) -> Figure:
    return Figure(f"{name}_pct", (f"sm__inst_executed_pipe_{name}.{PEAK_ACTIVE}", f"sm__pipe_{name}_{_ACTIVE}"))


_ACTIVE = f"cycles_active.{PEAK_ACTIVE}"
_STALLS = (
    "barrier",
    "branch_resolve",
    "dispatch_stall",
    "drain",
    "gmma",
    "imc_miss",
    "lg_throttle",
    "long_scoreboard",
    "math_pipe_throttle",
    "membar",
    "mio_throttle",
    "misc",
    "no_instruction",
    "not_selected",
    "selected",
    "short_scoreboard",
    "sleeping",
    "tex_throttle",
    "wait",
)


def _stall(name: str) -> Figure:
    return Figure(f"{name}_cycles_per_issue", (f"smsp__average_warps_issue_stalled_{name}_per_issue_active.ratio",))


def _sum(name: str, *metrics: str) -> Figure:
    return Figure(name, metrics, Combine.SUM)


def _launch(name: str, metric: str) -> Figure:
    return Figure(name, (metric,), Combine.MAX)


_SASS = "smsp__sass_thread_inst_executed_op_{}_pred_on.sum"
DRAM_READ = _sum("dram_read_bytes", "dram__bytes_read.sum", "dram__bytes_op_read.sum")
DRAM_WRITTEN = _sum("dram_written_bytes", "dram__bytes_write.sum", "dram__bytes_op_write.sum")
TIME = Figure("duration_us", (DURATION,), Combine.SUM, 1e6)
SCALAR_OPERATIONS = {
    (dtype, operation): _sum(f"{dtype}_{operation}_instructions", _SASS.format(letter + operation))
    for dtype, letter in (("float16", "h"), ("float32", "f"), ("float64", "d"))
    for operation in ("add", "mul", "fma")
}

SECTIONS: dict[str, tuple[Figure, ...]] = {
    "speed_of_light": (
        Figure("compute_throughput_pct", (f"sm__throughput.{PEAK_ELAPSED}",)),
        Figure("memory_throughput_pct", (f"gpu__compute_memory_throughput.{PEAK_ELAPSED}",)),
        Figure("dram_throughput_pct", (f"gpu__dram_throughput.{PEAK_ELAPSED}", f"dram__throughput.{PEAK_ELAPSED}")),
        Figure("l1_throughput_pct", (f"l1tex__throughput.{PEAK_ACTIVE}",)),
        Figure("l2_throughput_pct", (f"lts__throughput.{PEAK_ELAPSED}",)),
    ),
    "memory_metrics": (
        DRAM_READ,
        DRAM_WRITTEN,
        Figure("dram_gb_per_s", ("dram__bytes.sum.per_second",), scale=1e-9),
        _sum("l2_bytes", "lts__t_bytes.sum"),
        _sum("l1_bytes", "l1tex__t_bytes.sum"),
        Figure("l1_hit_rate_pct", ("l1tex__t_sector_hit_rate.pct",)),
        Figure("l2_hit_rate_pct", ("lts__t_sector_hit_rate.pct",)),
        _sum("local_load_instructions", "smsp__inst_executed_op_local_ld.sum"),
        _sum("local_store_instructions", "smsp__inst_executed_op_local_st.sum"),
    ),
    "compute_metrics": (
        Figure("instructions_per_active_cycle", ("sm__inst_executed.avg.per_cycle_active",)),
        Figure("instructions_per_elapsed_cycle", ("sm__inst_executed.avg.per_cycle_elapsed",)),
        _sum("warp_instructions", "smsp__inst_executed.sum", "sm__inst_executed.sum"),
        Figure("issue_slots_busy_pct", (f"sm__inst_issued.{PEAK_ACTIVE}",)),
        Figure("sm_active_pct", ("sm__cycles_active.avg.pct_of_peak_sustained_elapsed",)),
        *SCALAR_OPERATIONS.values(),
    ),
    "pipeline_metrics": (
        *(_pipe(name) for name in ("alu", "fma", "fp16", "fp64", "lsu", "xu", "uniform")),
        Figure("tensor_pct", (f"sm__pipe_tensor_{_ACTIVE}", f"sm__inst_executed_pipe_tensor.{PEAK_ACTIVE}")),
    ),
    "occupancy_metrics": (
        Figure("achieved_occupancy_pct", (f"sm__warps_active.{PEAK_ACTIVE}",)),
        Figure("theoretical_occupancy_pct", ("sm__maximum_warps_per_active_cycle_pct",)),
        Figure("active_warps_per_sm", ("sm__warps_active.avg.per_cycle_active",)),
        _launch("registers_per_thread", "launch__registers_per_thread"),
        _launch("threads_per_block", "launch__block_size"),
        _launch("blocks", "launch__grid_size"),
        _launch("waves_per_sm", "launch__waves_per_multiprocessor"),
        _launch("static_shared_bytes_per_block", "launch__shared_mem_per_block_static"),
        _launch("dynamic_shared_bytes_per_block", "launch__shared_mem_per_block_dynamic"),
        _launch("limit_by_registers_blocks", "launch__occupancy_limit_registers"),
        _launch("limit_by_shared_memory_blocks", "launch__occupancy_limit_shared_mem"),
        _launch("limit_by_warps_blocks", "launch__occupancy_limit_warps"),
    ),
    "stall_metrics": tuple(_stall(name) for name in _STALLS),
    "scheduler_metrics": (
        Figure("issue_active_pct", (f"smsp__issue_active.{PEAK_ACTIVE}",)),
        Figure("no_eligible_warp_pct", (f"smsp__issue_inst0.{PEAK_ACTIVE}",)),
        Figure("active_warps_per_scheduler", ("smsp__warps_active.avg.per_cycle_active",)),
        Figure("eligible_warps_per_scheduler", ("smsp__warps_eligible.avg.per_cycle_active",)),
    ),
    "access_pattern_metrics": (
        Figure(
            "global_load_sectors_per_request",
            ("l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_ld.ratio",),
        ),
        Figure(
            "global_store_sectors_per_request",
            ("l1tex__average_t_sectors_per_request_pipe_lsu_mem_global_op_st.ratio",),
        ),
        Figure("global_load_used_pct", ("smsp__sass_average_data_bytes_per_sector_mem_global_op_ld.pct",)),
        Figure("global_store_used_pct", ("smsp__sass_average_data_bytes_per_sector_mem_global_op_st.pct",)),
        _sum("shared_load_bank_conflicts", "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_ld.sum"),
        _sum("shared_store_bank_conflicts", "l1tex__data_bank_conflicts_pipe_lsu_mem_shared_op_st.sum"),
        Figure("threads_per_warp_instruction", ("smsp__thread_inst_executed_per_inst_executed.ratio",)),
        Figure("uniform_branches_pct", ("smsp__sass_average_branch_targets_threads_uniform.pct",)),
    ),
    "timing_metrics": (
        TIME,
        Figure(
            "sm_clock_mhz", ("smsp__cycles_elapsed.avg.per_second", "sm__cycles_elapsed.avg.per_second"), scale=1e-6
        ),
        Figure("memory_clock_mhz", ("dram__cycles_elapsed.avg.per_second",), scale=1e-6),
        _sum("elapsed_cycles", "sm__cycles_elapsed.max"),
    ),
}
ROOFLINE = "roofline_metrics"
DETAILED = "detailed_metrics"
NAMES = (*SECTIONS, ROOFLINE, DETAILED)

# ncu's own names of sections, as its users know them.
_OF_NCU: dict[str, tuple[str, ...]] = {
    "SpeedOfLight": ("speed_of_light",),
    "SpeedOfLight_RooflineChart": (ROOFLINE,),
    "MemoryWorkloadAnalysis": ("memory_metrics",),
    "ComputeWorkloadAnalysis": ("compute_metrics", "pipeline_metrics"),
    "Occupancy": ("occupancy_metrics",),
    "LaunchStats": ("occupancy_metrics",),
    "WarpStateStats": ("stall_metrics",),
    "SchedulerStats": ("scheduler_metrics",),
    "SourceCounters": ("access_pattern_metrics",),
}
# These are not in the list of metrics: ncu derives them, and prints them with its sections of these names.
BY_SECTION = {"launch__": "LaunchStats", "sm__maximum_warps": "Occupancy", "launch__occupancy": "Occupancy"}


def chosen(wanted: bool | Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The sections that a contract's `metrics` names, in our order, and the names that mean none. True: all."""
    if isinstance(wanted, bool):
        return (NAMES if wanted else ()), ()
    found: set[str] = set()
    unknown: list[str] = []
    for name in wanted:
        known = (name,) if name in NAMES else _OF_NCU.get(name, ())
        found.update(known)
        if not known:
            unknown.append(name)
    return tuple(name for name in NAMES if name in found), tuple(unknown)


def figures_of(sections: Iterable[str]) -> Iterator[tuple[str, Figure]]:
    """Every figure of `sections` with its section's name. The roofline's inputs come along where it is wanted, and the
    duration always: it is the weight of everything else."""
    wanted = tuple(sections)
    for section in wanted:
        yield from ((section, figure) for figure in SECTIONS.get(section, ()))
    if ROOFLINE in wanted:
        yield from ((ROOFLINE, figure) for figure in (DRAM_READ, DRAM_WRITTEN, *SCALAR_OPERATIONS.values()))
    yield DETAILED, TIME

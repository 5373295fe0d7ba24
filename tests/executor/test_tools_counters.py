"""ncu's table, read, and grouped into the sections of a result. The fixtures are written here, in ncu's format."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.executor.tools import ncu_report, roofline
from daemon.executor.tools.ceilings import Ceilings
from daemon.executor.tools.grouping import device_metrics
from daemon.executor.tools.sections import DURATION, NAMES, SECTIONS, chosen, figures_of

SOL = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
READ, WRITTEN, REGISTERS = "dram__bytes_read.sum", "dram__bytes_write.sum", "launch__registers_per_thread"
FIXED = ("ID", "Process ID", "Process Name", "Host Name", "Kernel Name", "Context", "Stream", "Block Size",
         "Grid Size", "Device", "CC")  # fmt: skip
BANNER = """==PROF== Connected to process 4711 (/usr/bin/python3.12)
==PROF== Profiling "scale" - 0: 0%....50%....100% - 7 passes
==WARNING== Note: Running with uncontrolled GPU caches.
"""


def table(metrics: dict[str, str], *launches: tuple[str, ...]) -> str:
    """ncu's raw page: names, units, and one line per launch (its kernel, then a value per metric)."""
    lines = [(*FIXED, *metrics), ("",) * len(FIXED) + tuple(metrics.values())]
    for number, (kernel, *values) in enumerate(launches):
        place = (
            str(number),
            "4711",
            "python3.12",
            "127.0.0.1",
            kernel,
            "1",
            "7",
            "(256, 1, 1)",
            "(64, 1, 1)",
            "0",
            "9.0",
        )
        lines.append((*place, *values))
    return "".join(",".join(f'"{field}"' for field in line) + "\n" for line in lines)


TWO_KERNELS = BANNER + table(
    {DURATION: "ns", READ: "Mbyte", WRITTEN: "byte", SOL: "%", REGISTERS: "register/thread"},
    ("void scale<float>(float *, int)", "3,000.00", "1,024.50", "2,048", "40.00", "32"),
    ("reduce", "1,000.00", "n/a", "1,024", "80.00", "64"),
    ("void scale<float>(float *, int)", "5,000.00", "1,024.50", "2,048", "44.00", "32"),
    ("reduce", "1,000.00", "n/a", "1,024", "80.00", "64"),
)


def test_values_are_read_in_base_units_with_thousands_separators() -> None:
    first = ncu_report.read(TWO_KERNELS).launches[0]
    assert first.kernel == "void scale<float>(float *, int)"
    assert first.metrics[DURATION] == pytest.approx(3e-6)
    assert first.metrics[READ] == pytest.approx(1024.5e6)
    assert first.metrics[SOL] == 40


def test_a_value_that_is_not_available_is_absent_and_not_zero() -> None:
    assert READ not in ncu_report.read(TWO_KERNELS).launches[1].metrics


def test_what_ncu_says_before_the_table_is_kept_as_its_messages() -> None:
    assert ncu_report.read(TWO_KERNELS).messages[0].startswith("==PROF== Connected to process 4711")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters\n",
        "==WARNING== No kernels were profiled.\n",
        '"Kernel Name"\n',
        table({DURATION: "ns"}),
    ],
)
def test_a_report_without_a_table_has_no_launches(text: str) -> None:
    assert ncu_report.read(text).launches == ()


def test_lines_that_do_not_fit_the_table_are_left_out() -> None:
    text = table({DURATION: "ns"}, ("kernel", "1")) + '"short","line"\n"' + "x" * 100_000 + '"\n'
    assert len(ncu_report.read(text).launches) == 1


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("byte", 1), ("Gbyte", 1e9), ("Gbyte/second", 1e9), ("ns", 1e-9), ("usecond", 1e-6), ("msecond", 1e-3),
        ("s", 1), ("hz", 1), ("Ghz", 1e9), ("cycle/nsecond", 1e9), ("%", 1), ("", 1),
        ("register/thread", 1), ("KB", 1e3),
    ],
)  # fmt: skip
def test_units_old_and_new(unit: str, expected: float) -> None:
    assert ncu_report.factor(unit) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["n/a", "", "nan", "inf", "-inf", "1e999", "1e300", "(256, 1, 1)"])
def test_what_is_no_finite_number_is_none(text: str) -> None:
    assert ncu_report.number(text) is None


def test_figures_are_per_call_and_rates_are_weighted_by_time() -> None:
    found = device_metrics(ncu_report.read(TWO_KERNELS), NAMES, 2, {})
    assert found["timing_metrics"]["duration_us"] == pytest.approx(5)
    assert found["speed_of_light"]["compute_throughput_pct"] == pytest.approx((40 * 3 + 44 * 5 + 80 * 2) / 10)
    assert found["memory_metrics"]["dram_written_bytes"] == 3072
    assert found["occupancy_metrics"]["registers_per_thread"] == 64


def test_several_kernels_of_a_call_stand_beside_each_other_longest_first() -> None:
    scale, reduce = device_metrics(ncu_report.read(TWO_KERNELS), NAMES, 2, {})["kernels"]
    assert (scale["kernel"], reduce["kernel"]) == ("void scale<float>(float *, int)", "reduce")
    assert scale["launches_per_call"] == 1
    assert scale["share_of_time_pct"] == pytest.approx(80)
    assert scale["memory_metrics"]["dram_read_bytes"] == pytest.approx(1024.5e6)
    assert reduce["occupancy_metrics"]["registers_per_thread"] == 64


def test_a_sum_of_which_a_part_is_missing_is_absent_with_a_reason() -> None:
    found = device_metrics(ncu_report.read(TWO_KERNELS), NAMES, 2, {"l1tex__t_bytes.sum": "ncu does not know it"})
    assert "dram_read_bytes" not in found["memory_metrics"]
    assert found["absent"]["memory_metrics.dram_read_bytes"] == "ncu gave it no value"
    assert found["absent"]["memory_metrics.l1_bytes"] == "ncu does not know it"


def test_detailed_metrics_keep_ncus_names_with_base_units() -> None:
    detailed = device_metrics(ncu_report.read(TWO_KERNELS), NAMES, 2, {})["detailed_metrics"]
    assert detailed[f"{DURATION} [second]"] == pytest.approx(5e-6)
    assert detailed[f"{SOL} [%]"] == pytest.approx(50)


def test_sections_can_be_selected_by_our_names_and_by_ncus() -> None:
    assert chosen(True) == (NAMES, ())
    assert chosen(False) == ((), ())
    assert chosen(["SpeedOfLight", "stall_metrics", "Nonsense"]) == (("speed_of_light", "stall_metrics"), ("Nonsense",))
    found = device_metrics(ncu_report.read(TWO_KERNELS), ("speed_of_light",), 2, {})
    assert set(found) == {"speed_of_light", "kernels", "absent"}


def test_a_name_cannot_forge_the_screen() -> None:
    report = ncu_report.read(table({DURATION: "ns"}, ("evil\x1b[2J" + "k" * 1000, "1")))
    assert "\x1b" not in report.launches[0].kernel
    assert len(report.launches[0].kernel) < 400


def test_an_unclosed_quote_swallows_no_line_and_an_endless_field_is_left_out() -> None:
    endless = '"' + "x" * 200_000 + "\n"
    text = BANNER + table({DURATION: "ns"}, ("k", "1"), ("k", "2")).replace('"1"\n', '"1\n', 1) + endless
    assert len(ncu_report.read(text).launches) == 2


def test_names_that_no_metric_has_are_left_out_and_units_are_printable() -> None:
    text = table({DURATION: "n\x00s", "evil\x00name": "", "with space": "", "a" * 500: ""}, ("k", "1", "2", "3", "4"))
    report = ncu_report.read(text)
    assert set(report.launches[0].metrics) == {DURATION}
    assert "\x00" not in json.dumps([report.units, device_metrics(report, NAMES, 1, {})])
    assert "\\u0000" not in json.dumps([report.units, device_metrics(report, NAMES, 1, {})])


def test_a_table_that_only_mentions_the_column_is_none() -> None:
    assert ncu_report.read('"x ""Kernel Name"" y","b"\n"a","b"\n"a","b"\n').launches == ()


@given(st.lists(st.sampled_from(["1", "1e29", "-1e29", "1e-300", "n/a", "0", "9,999.5", '"', "k"]), max_size=40))
def test_whatever_the_values_the_figures_are_finite(values: list[str]) -> None:
    names = {DURATION: "Gs", READ: "Tbyte", WRITTEN: "byte/ns", SOL: "%", REGISTERS: ""}
    rows = [("k" + row, row, *values[number : number + 4]) for number, row in enumerate(values)]
    report = ncu_report.read(table(names, *(row for row in rows if len(row) == 6)))
    json.dumps(device_metrics(report, NAMES, 2, {}), allow_nan=False)
    work = roofline.work_of(report.launches, 2)
    json.dumps(roofline.metrics(work, Ceilings(bytes_per_s=1e12), 1e-6), allow_nan=False)


def test_every_figure_has_a_name_of_its_own_in_its_section() -> None:
    for figures in SECTIONS.values():
        names = [figure.name for figure in figures]
        assert len(names) == len(set(names))
    assert all(figure.metrics for _, figure in figures_of(NAMES))

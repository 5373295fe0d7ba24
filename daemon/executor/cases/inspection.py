"""One case under the tools, after its verdict and its times are settled: first the checks, then the counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from daemon.contract import Check
from daemon.contract.problems import nearest
from daemon.evaluation import CheckReport, Timing
from daemon.executor.artifacts.bundle import Request
from daemon.executor.cases.bench import Bench
from daemon.executor.cases.tool_runner import CallCounts, CallSample, ToolRunner
from daemon.executor.tools import ncu, ncu_report, roofline, sanitizer, sections
from daemon.executor.tools.grouping import device_metrics
from daemon.executor.tools.toolbox import Unavailable
from daemon.verdict import Side

_COUNTED = CallCounts(warm=2, counted=2, bracket=True)
_CHECKED = CallCounts(warm=0, counted=2, bracket=False)
_NAMES = {Side.REFERENCE: "original_device_metrics", Side.CANDIDATE: "custom_device_metrics"}
_KEPT_REPORT_CHARS = 1 << 20


@dataclass
class Inspection:
    """What the tools say of one case. `reports`: their own words, by file name."""

    bench: Bench
    request: Request
    bundle_dir: Path
    progress: Callable[[str], None]
    reports: dict[str, str] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether anything was asked for."""
        return bool(self.request.checks or self.sections()[0])

    def sections(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The sections to count, and the names that mean none. The contract asks for them. The setting `metrics` may be
        `never`, or `always`: then all are counted for a contract that asks for none."""
        setting = self.bench.settings.metrics
        if setting == "never":
            return (), ()
        wanted = self.request.metrics
        return sections.chosen(True if setting == "always" and wanted in (False, ()) else wanted)

    def notes(self) -> list[str]:
        """What was asked for that there is not."""
        found = []
        for name in self.sections()[1]:
            known = nearest(name, sections.NAMES)
            meant = f"; did you mean {known!r}?" if known else f"; there are {', '.join(sections.NAMES)}"
            found.append(f"metrics: there is no section {name[:100]!r}{meant}")
        return found

    def checks(self, sample: CallSample | None) -> tuple[CheckReport, ...]:
        """Every check the contract asked for, of the candidate alone. `sample` None: there is no content for it."""
        return tuple(self._check(check, sample) for check in dict.fromkeys(self.request.checks))

    def _check(self, check: Check, sample: CallSample | None) -> CheckReport:
        self.progress(f"{check}")
        if sample is None:
            return CheckReport(check=check.value, completed=False, note="there were no inputs for it")
        try:
            tool = self.bench.tools.check(check)
        except Unavailable as reason:
            return CheckReport(check=check.value, completed=False, note=str(reason))
        limit_s = self.bench.settings.deadlines.check_s
        ran = self._runner().run(Side.CANDIDATE, sample, tool, _CHECKED, limit_s=limit_s)
        self._keep(f"{check}.txt", ran.report)
        report = sanitizer.read(check, ran.report)
        if ran.problem is None or report.errors:
            return report
        return report.model_copy(update={"completed": False, "note": ran.problem})

    def metrics(self, samples: Mapping[Side, CallSample], timings: Mapping[Side, Timing]) -> dict[str, Any]:
        """The counters of every side, or `unsupported` with the reason. Never raises for what a tool does."""
        wanted, unknown = self.sections()
        found: dict[str, Any] = {"unknown_sections": list(unknown)} if unknown else {}
        if not wanted:
            return found
        try:
            tool, plan = self.bench.tools.counters(wanted)
        except Unavailable as reason:
            return found | {"unsupported": str(reason)}
        for side, sample in samples.items():
            self.progress(f"counters of the {side}")
            limit_s = self.bench.settings.deadlines.metrics_s
            ran = self._runner().run(side, sample, tool, _COUNTED, limit_s=limit_s)
            self._keep(f"counters-{side}.csv", ran.report)
            report = ncu_report.read(ran.report)
            found[_NAMES[side]] = self._grouped(report, plan, wanted, timings.get(side), ran.problem)
        return found

    def _grouped(
        self,
        report: ncu_report.Report,
        plan: ncu.Plan,
        wanted: Iterable[str],
        timing: Timing | None,
        problem: str | None,
    ) -> dict[str, Any]:
        if not report.launches:
            words = [ncu.why_nothing(report.messages)] if report.messages or problem is None else []
            return {"unsupported": "; ".join([*words, *([problem] if problem is not None else [])])}
        chosen = tuple(wanted)
        grouped = device_metrics(report, chosen, _COUNTED.counted, plan.unavailable)
        if sections.ROOFLINE in chosen:
            work = roofline.work_of(report.launches, _COUNTED.counted)
            time_s = timing.stats.mean / 1e3 if timing is not None else None
            grouped[sections.ROOFLINE] = roofline.metrics(work, self.bench.ceilings(), time_s)
        return grouped | ({"note": problem} if problem is not None else {})

    def _runner(self) -> ToolRunner:
        return ToolRunner(self.bench, self.request, self.bundle_dir)

    def _keep(self, name: str, report: str) -> None:
        if report:
            self.reports[name] = report[:_KEPT_REPORT_CHARS]


def roofline_of(metrics: Mapping[str, Any], side: Side) -> Mapping[str, Any]:
    """What was counted of one side for a roofline; empty where nothing was."""
    section: Mapping[str, Any] = metrics.get(_NAMES[side], {}).get(sections.ROOFLINE, {})
    return section

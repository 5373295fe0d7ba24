"""What this judge's device can do at most: as it was kept, else measured when somebody first asks.

It is measured by ordinary evaluations in ordinary cells, between those of bundles: a case asks when its own cells are
gone and its times are settled. A failure to measure is no bundle's fault: then it is not known, and for a while nobody
tries again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

from daemon import log
from daemon.config import Limits
from daemon.errors import BundleError, DeviceError, HarnessError
from daemon.executor import catalog
from daemon.executor.artifacts.bundle import bound, parse_folder
from daemon.executor.cases.bench import Bench
from daemon.executor.cases.case import CaseJudge
from daemon.executor.host import scratch
from daemon.executor.tools import ceilings
from daemon.executor.tools.ceilings import Ceilings

_RETRY_S = 600.0


class Yardstick:
    """The ceilings of the device of `bench`. `threads`: of its cells' pools, None for a GPU."""

    def __init__(self, bench: Bench, torch: str | None, threads: int | None) -> None:
        # An operator's limits are for bundles, and counters of our own kernels would need these ceilings themselves.
        settings = bench.settings.model_copy(update={"metrics": "never", "limits": Limits()})
        # Several cases run inside the one that asks: each gives its memory back before the next one.
        self._bench = replace(bench, settings=settings, ceilings=lambda: None, later=None)
        self._torch = torch
        self._threads = threads
        self._not_before_s = 0.0

    def ceilings(self) -> Ceilings | None:
        """None where they cannot be measured. Raises `DeviceError` for a device that is sick."""
        device = self._bench.device
        path = ceilings.path_of(device, self._bench.settings.paths)
        known = ceilings.kept(path, device, self._torch, self._threads)
        if known is not None or time.monotonic() < self._not_before_s:
            return known
        known = self._measured()
        if known is None:
            self._not_before_s = time.monotonic() + _RETRY_S
        else:
            ceilings.keep(path, device, self._torch, known, self._threads)
        return known

    def _measured(self) -> Ceilings | None:
        try:
            return ceilings.measure(self._time_ms, self._threads)
        except DeviceError:
            raise
        except (BundleError, HarnessError, OSError) as error:
            log.story("the ceilings of a device cannot be measured", level=30, reason=error)
            return None

    def _time_ms(self, contract: dict[str, Any]) -> float | None:
        """What a call of one of our own kernels takes, by the whole protocol. None where it could not be timed."""
        types = catalog.contract_types(self._bench.backends)
        with scratch.bundle("ceiling", contract) as folder:
            request = parse_folder(folder, types, self._bench.settings.limits).request
            [case] = request.cases
            timing = CaseJudge(self._bench, bound(request, case), case, folder, lambda _: None).judge().timing
        return timing.stats.min if timing is not None else None

"""Limits of the shell under which no judge can live: torch cannot be loaded then, and ends in all manner of ways, an
abort among them. So these limits are looked at before."""

from __future__ import annotations

import resource

from daemon.errors import OperatorError

# On a CPU a judge uses some two thirds of these, on a GPU more.
_LEAST_BYTES = {
    resource.RLIMIT_AS: (1 << 30, "ulimit -v", "LimitAS="),
    resource.RLIMIT_DATA: (384 << 20, "ulimit -d", "LimitDATA="),
}


def require_memory() -> None:
    """Raises `OperatorError` where a process of this shell may not have the memory that a judge needs."""
    for limit, (least, option, setting) in _LEAST_BYTES.items():
        may_have = resource.getrlimit(limit)[0]
        if may_have != resource.RLIM_INFINITY and may_have < least:
            raise OperatorError(
                f"{option} is {may_have >> 10} here, and no judge can start with less than {least >> 10} (KiB)",
                hint=f"type: {option} unlimited; where that is not permitted, start it from another shell, or set"
                f" {setting} in its unit",
            )

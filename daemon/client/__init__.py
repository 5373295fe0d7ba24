"""Judging kernels from a Python program, through a running `evald serve`.

from daemon.client import Client, contracts

client = Client()                                   # EVALD_URL and EVALD_TOKEN, or this machine
result = client.compare(reference=REFERENCE, candidate=SOURCE, name="relu-clamp")
print(result.verdict, result.runtime_ms, result.speedup)
"""

from __future__ import annotations

from daemon.client import contracts
from daemon.client.answers import ClientError, Job, Result
from daemon.client.client import Client

__all__ = ["Client", "ClientError", "Job", "Result", "contracts"]

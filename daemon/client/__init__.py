"""Judging kernels from a Python program, through a running `evald serve`.

from daemon.client import Client, contracts

client = Client()                                   # EVALD_URL and EVALD_TOKEN, or this machine
result = client.compare(reference=REFERENCE, candidate=SOURCE, name="relu-clamp")
print(result.verdict, result.runtime_ms, result.speedup)

    client, connections              talking to a server; the connections to it, a set for each process
    patience                         trying again, and what to say when that does not help
    answers                          what comes back: a job, a result, a refusal
    contracts                        contracts as calls of Python
    mcp_server                       the same as tools for language models
"""

from __future__ import annotations

from daemon.client import contracts
from daemon.client.answers import ClientError, Job, Result
from daemon.client.client import Client

__all__ = ["Client", "ClientError", "Job", "Result", "contracts"]

"""evald for language models: an MCP server on stdin and stdout whose tools call a running `evald serve`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any

import anyio.to_thread
from mcp.server import MCPServer
from mcp.server.mcpserver.context import Context
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, InputRequiredResult
from pydantic import BaseModel, Field, ValidationError

from daemon.client import contracts
from daemon.client.answers import ClientError, Result
from daemon.client.client import Client
from daemon.contract.problems import ProblemLog, nearest, note_faults
from daemon.versions import evald_version

_ABOUT = """\
Judges GPU kernels: compiles, checks against a reference, and times them in a sandbox that the kernel cannot fool.
A kernel is either the text of a torch source (a class Model with get_inputs, or ModelNew) or an object {kernel_type,
source_code, io, metadata} as the contract reference describes it. "faster" means that intervals of times are apart;
a speedup alone proves nothing.
"""
_IN_A_CONTRACT = {"ref_kernel": "reference", "custom_kernel": "candidate"}
_SHOWN = ("job_id", "name", "verdict", "phase", "message", "speedup", "comparison", "notes")

Kernel = Annotated[str | dict[str, Any], Field(description="Torch source text, or a kernel object of the contract")]
WaitS = Annotated[float, Field(description="Seconds to wait; the job goes on after that", gt=0, le=3600)]
More = Annotated[
    dict[str, Any] | None,
    Field(description="Other fields of the contract: name, problem, labels, cases, atol, rtol, timeout, requires, …"),
]


class _Server(MCPServer[Any]):
    """Says what is wrong with the arguments of a tool in words that a model can act on."""

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        known = {tool.name: tuple(tool.input_schema["properties"]) for tool in await self.list_tools()}
        if name not in known:
            raise ToolError(f"there is no tool {name!r}; there are {', '.join(known)}")
        wrong = ProblemLog(name)
        for key in arguments:
            if key not in known[name]:
                wrong.add(
                    key, f"is no argument of {name}, which takes {', '.join(known[name])}", _meant(key, known[name])
                )
        try:
            if not wrong.problems:
                return await super().call_tool(name, arguments, context)
        except ToolError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            note_faults(BaseModel, error.__cause__, "", wrong)
        told = {str(replace(problem, field=problem.field.partition(".")[0])): None for problem in wrong.problems}
        raise ToolError("\n".join(told))


def _meant(key: str, known: tuple[str, ...]) -> str | None:
    """The argument that was probably meant: one that has this name in a contract, or of which this is a field."""
    if _IN_A_CONTRACT.get(key) in known:
        return _IN_A_CONTRACT[key]
    return f"more.{key}" if "more" in known and key in contracts.Fields.__annotations__ else nearest(key, known)


def make_server(client: Client) -> MCPServer[Any]:
    """The server over one client."""
    server = _Server("evald", instructions=_ABOUT, version=evald_version())

    async def judge(contract: contracts.Contract, wait_s: float) -> dict[str, Any]:
        job = await _call(client.submit, contract)
        try:
            return summary(await _call(client.wait, job.job_id, wait_s))
        except ToolError:
            now = await _call(client.job, job.job_id)
            return {"job_id": now.job_id, "status": now.status, "progress": now.progress}

    @server.tool()
    async def evaluate(kernel: Kernel, wait_s: WaitS = 120, more: More = None) -> dict[str, Any]:
        """Compile, run and time one kernel. Nothing is compared, so correctness is not judged."""
        return await judge(contracts.evaluate(kernel) | (more or {}), wait_s)

    @server.tool()
    async def compare(reference: Kernel, candidate: Kernel, wait_s: WaitS = 120, more: More = None) -> dict[str, Any]:
        """Check a kernel against a reference on fresh inputs, time both interleaved, and say which is faster."""
        return await judge(contracts.compare(reference, candidate) | (more or {}), wait_s)

    @server.tool()
    async def status(job_id: str) -> dict[str, Any]:
        """How far a job is; with its whole result document, once there is one."""
        return dict((await _call(client.job, job_id)).document)

    @server.tool()
    async def stats(window: Annotated[str, Field(description="15m, 24h, 7d")] = "1h") -> dict[str, Any]:
        """Jobs, durations, throughput and how busy the devices were."""
        return dict(await _call(client.stats, window))

    return server


def summary(result: Result) -> dict[str, Any]:
    """What a model needs to go on; `status` has the rest."""
    document = result.document
    cases = [_case(case) for case in document.get("cases", ())]
    figures = {"runtime_ms": result.runtime_ms, "ref_runtime_ms": result.ref_runtime_ms}
    return {key: document.get(key) for key in _SHOWN} | figures | {"cases": cases}


def _case(case: dict[str, Any]) -> dict[str, Any]:
    failure = case.get("failure") or {}
    return {
        "case": case.get("name"),
        "verdict": case.get("verdict"),
        "message": failure.get("message"),
        "traceback": failure.get("traceback"),
        "max_abs_error": case.get("max_abs_error"),
        "labels": [*case.get("labels", ()), *(case.get("timing") or {}).get("labels", ())],
        "notes": case.get("notes"),
    }


async def _call(ask: Callable[..., Any], *args: Any) -> Any:
    try:
        return await anyio.to_thread.run_sync(functools.partial(ask, *args))
    except ClientError as error:
        raise ToolError(str(error)) from error

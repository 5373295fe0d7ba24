"""The Python client and the MCP server, against a real `evald serve`."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import typing
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from http_bodies import KERNEL, evaluate
from http_servers import Serve, Server, evald
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.server.mcpserver.exceptions import ToolError
from waiting import wait_for

from daemon.cli import failing
from daemon.client import Client, ClientError, Result, contracts, mcp_server
from daemon.client.mcp_server import make_server, summary
from daemon.config import Limits
from daemon.contract import DTYPES, parse_contract
from daemon.contract.request import KernelMetadata, RequestFields
from daemon.contract.tensors import InitKind, Role
from daemon.executor import catalog
from daemon.http.examples import EXAMPLES

REFERENCE = EXAMPLES["compare"]["ref_kernel"]["source_code"].replace("1024, 1024", "64, 1024")
CANDIDATE = EXAMPLES["compare"]["custom_kernel"]["source_code"]
QUICK = {"num_trials": 5, "timing": {"max_s": 0.2, "target_rse": 0.2}}


def test_a_kernel_is_compared_in_three_lines(judging: Server) -> None:
    with Client(judging.url) as client:
        result = client.compare(REFERENCE, CANDIDATE, name="three-lines", **QUICK)  # type: ignore[arg-type]
        assert result.passed, result.message
        assert result.runtime_ms is not None
        assert result.ref_runtime_ms is not None
        assert result.speedup == pytest.approx(result.ref_runtime_ms / result.runtime_ms, rel=0.2)
        assert client.result(result.job_id).document == result.document
        assert client.job(result.job_id).status == "completed"
        [listed] = client.jobs(name="three-lines")
        assert (listed.name, listed.document["comparison"]) == ("three-lines", result.comparison)
        assert client.health()["status"] == "healthy"
        assert client.stats("1h")["job_stats"]["passed"] >= 1


def test_what_is_to_be_doubted_in_any_case_is_told_at_once() -> None:
    timed = {"labels": ["weak_check"], "timing": {"labels": ["few_rounds"]}}
    assert Result({"cases": [timed, {"labels": [], "timing": None}]}).case_labels == {"weak_check", "few_rounds"}
    assert Result({}).case_labels == frozenset()


def test_what_is_wrong_with_a_contract_is_in_the_error(rehearsing: Server) -> None:
    with Client(rehearsing.url) as client, pytest.raises(ClientError) as caught:
        client.submit({"kernel": {"kernel_typ": "torch", "source_code": "x"}, "timeout": -1})
    assert caught.value.status == 400
    assert {problem["field"] for problem in caught.value.problems} >= {"kernel.kernel_typ", "timeout"}
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.problems) > 1  # each with what was meant by it
    assert next(line for line in lines if line.startswith("kernel.kernel_typ:")).endswith(
        "(did you mean 'kernel_type'?)"
    )


def test_what_was_probably_misspelt_is_a_warning_each_time_the_job_is_told(serve: Serve) -> None:
    with Client(serve("--judge", "never").url) as client:
        for repeated in (False, True):
            with pytest.warns(UserWarning, match="contract: num_trails: is not a known key") as caught:
                job = client.submit({**evaluate(), "num_trails": 3, "author": "anna"}, key="one")
            assert [str(one.message) for one in caught if "did you mean 'num_trials'?" in str(one.message)]
            assert {one["field"] for one in job.warnings} == {"num_trails", "author"}
            assert job.document["repeated"] is repeated
            assert len(caught) == 1
        assert client.submit(evaluate()).warnings == ()


def test_what_is_wrong_with_all_of_a_contract_is_no_field(rehearsing: Server) -> None:
    with Client(rehearsing.url) as client, pytest.raises(ClientError) as caught:
        client.submit({"name": ""})
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == ["holds no kernel", "name"]


def test_jobs_with_a_label_that_change_hands_are_cancelled_later_or_it_is_told_that_they_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def answer(job_id: str | None, *, more: bool) -> dict[str, object]:
        return {"cancelled": [] if job_id is None else [{"job_id": job_id}], "more": more}

    answers = [answer("1", more=True), answer(None, more=True), answer("2", more=True), answer(None, more=False)]
    monkeypatch.setattr(Client, "_ask", lambda *_, **__: answers.pop(0))
    with Client() as client:
        assert client.cancel_labelled("sweep=1") == ["1", "2"]
    answers = [answer("1", more=True), answer(None, more=True)]
    with Client(patience_s=0) as client, pytest.raises(ClientError, match="1 jobs with the label sweep=1"):
        client.cancel_labelled("sweep=1")


@pytest.mark.parametrize("contract", [5, None, "a text", b"bytes", [{"name": "a"}]])
def test_what_is_no_contract_at_all_is_told_before_it_is_sent(contract: typing.Any) -> None:
    told = f"a contract is a mapping, not {type(contract).__name__}"
    with Client("http://127.0.0.1:9", patience_s=0) as client, pytest.raises(ClientError, match=told):
        client.submit(contract)


def test_a_server_without_tls_is_told_at_once_to_be_one(serve: Serve) -> None:
    server = serve("--judge", "never")
    with Client(server.url.replace("http:", "https:"), patience_s=600) as client:
        for ask in (client.stats, client.health):
            with pytest.raises(ClientError) as caught:
                ask()
            assert caught.value.hint == f"it speaks no TLS: try {server.url}"
    assert "a client speaks TLS to a port of plain HTTP" in server.story
    assert server.story.count("speaks TLS") == 1


def test_mcp_offers_the_same_service_as_tools(judging: Server) -> None:
    async def talk() -> dict[str, typing.Any]:
        parameters = StdioServerParameters(command=sys.executable, args=["-m", "daemon", "mcp", "--url", judging.url])
        async with stdio_client(parameters) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            tools = {tool.name for tool in (await session.list_tools()).tools}
            compared = await session.call_tool(
                "compare", {"reference": REFERENCE, "candidate": CANDIDATE, "more": {"name": "by-mcp", **QUICK}}
            )
            told = json.loads(compared.content[0].text)
            whole = await session.call_tool("status", {"job_id": told["job_id"]})
            figures = await session.call_tool("stats", {})
            wrong = await session.call_tool("evaluate", {"kernel": {"kernel_typ": "torch"}})
            return {
                "tools": tools,
                "told": told,
                "whole": json.loads(whole.content[0].text),
                "figures": json.loads(figures.content[0].text),
                "wrong": wrong,
            }

    found = asyncio.run(talk())
    assert found["tools"] == {"evaluate", "compare", "status", "stats"}
    assert found["told"]["verdict"] == "passed"
    assert found["told"]["runtime_ms"] > 0
    assert found["whole"]["result"]["name"] == "by-mcp"
    assert found["figures"]["job_stats"]["passed"] >= 1
    assert "kernel_type" in found["wrong"].content[0].text


def test_mcp_calls_with_the_token_that_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []

    def server(client: Client) -> SimpleNamespace:
        return SimpleNamespace(run=lambda: said.append(client._http.headers["Authorization"]))

    monkeypatch.setattr(mcp_server, "make_server", server)
    assert failing.run(["mcp", "--url", "http://judge:8720", "--token", "evald_word"]) == 0
    monkeypatch.setenv("EVALD_TOKEN", "evald_other")
    assert failing.run(["mcp", "--url", "http://judge:8720"]) == 0
    assert said == ["Bearer evald_word", "Bearer evald_other"]


def test_arguments_of_a_tool_that_are_wrong_are_told_in_words_for_a_model() -> None:
    with Client("http://127.0.0.1:1", patience_s=0) as client:
        server = make_server(client)

        def refused(tool: str, **arguments: object) -> list[str]:
            with pytest.raises(ToolError) as caught:
                asyncio.run(server.call_tool(tool, arguments))
            assert "pydantic" not in str(caught.value)
            return str(caught.value).splitlines()

        assert refused("compare", reference="x") == ["compare: candidate: is required"]
        [unknown] = refused("evaluate", kernel="x", timeout=5)
        assert "which takes kernel, wait_s, more (did you mean 'more.timeout'?)" in unknown
        assert [line[-28:] for line in refused("compare", ref_kernel="x", custom_kernel="y")] == [
            " (did you mean 'reference'?)",
            " (did you mean 'candidate'?)",
        ]
        assert refused("evaluate", kernel=1) == [
            "evaluate: kernel: must be text, got 1",
            "evaluate: kernel: must be an object, got 1",
        ]
        assert refused("judge") == ["there is no tool 'judge'; there are evaluate, compare, status, stats"]
        assert "cannot reach" in refused("stats")[0]


def test_a_client_waits_out_a_restart_of_its_server_and_makes_one_job(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    first = serve(HTTP_PORT=port, is_held=True)
    seen: list[str] = []
    with Client(first.url) as client:
        job = client.submit(evaluate("patient"), key="k")

        def wait() -> None:
            seen.append(client.wait(job.job_id, 300).verdict)

        waiting = threading.Thread(target=wait)
        waiting.start()
        wait_for(lambda: client.job(job.job_id).status == "running", "the job to run")
        assert first.stop() == 0
        second = serve(HTTP_PORT=port)
        waiting.join(300)
        assert client.submit(evaluate("patient"), key="k").job_id == job.job_id
    assert seen == ["unsupported"]  # a rehearsal judges nothing
    wait_for(lambda: len(second.results()) == 1, "its result, once, which follows the database")


def test_more_may_wait_than_the_server_lets_wait_and_longer_than_patience(serve: Serve) -> None:
    with Client(serve(HTTP_STREAMS="1", REHEARSAL_S="3").url, patience_s=1) as client:
        jobs = [client.submit(evaluate(f"one-of-{number}")) for number in range(3)]
        with ThreadPoolExecutor(3) as waiting:
            results = list(waiting.map(lambda job: client.wait(job.job_id, 300), jobs))
    assert [result.document["name"] for result in results] == ["one-of-0", "one-of-1", "one-of-2"]


def test_every_thread_that_waits_has_a_connection_of_its_own() -> None:
    with Client("http://127.0.0.1:9") as client:
        assert client._http._transport._pool._max_connections >= 1000  # type: ignore[attr-defined]


def test_a_model_is_told_why_and_where_it_went_wrong(judging: Server) -> None:
    broken = "class ModelNew(nn.Module):\n    def forward(self, x):\n        return torch.softmax(x, axis_=1)\n"
    with Client(judging.url) as client:
        told = summary(client.compare(REFERENCE, broken, **QUICK))  # type: ignore[arg-type]
    assert told["verdict"] == "runtime_error"
    (case,) = told["cases"]
    assert case["message"] == told["message"] != ""
    assert "torch.softmax(x, axis_=1)" in case["traceback"]
    assert (case["labels"], case["notes"]) == ([], [])


def test_a_wait_that_is_over_says_so_and_a_job_can_be_cancelled(serve: Serve) -> None:
    with Client(serve(is_held=True).url) as client:
        with pytest.raises(ClientError, match="no result after") as caught:
            client.evaluate(KERNEL, wait_s=0.5)
        job_id = caught.value.job_id
        assert job_id is not None
        client.cancel(job_id)
        assert client.wait(job_id, 120).verdict == "rejected"
        with pytest.raises(ClientError) as caught:
            client.cancel(job_id)
        assert caught.value.status == 409


def test_no_server_and_no_token_are_told_with_what_to_type(
    serve: Serve, home: typing.Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Client("http://127.0.0.1:9", patience_s=0.3) as client:
        for ask in (client.health, client.jobs, lambda: client.wait("0" * 32)):
            with pytest.raises(ClientError, match="cannot reach") as caught:
                ask()
            assert "evald serve" in str(caught.value)
    token = evald(home, "token", "me").stdout.strip()
    server = serve("--judge", "never")
    with Client(server.url) as client, pytest.raises(ClientError) as caught:
        client.jobs()
    assert caught.value.status == 401
    monkeypatch.setenv("EVALD_URL", server.url)
    monkeypatch.setenv("EVALD_TOKEN", token)
    with Client() as client:
        assert client.jobs() == []
    assert evald(home, "status").returncode == 0  # they are no settings, and no mistake


def test_a_key_that_is_empty_is_a_mistake_and_not_another_job_each_time() -> None:
    with Client("http://127.0.0.1:9", patience_s=0) as client:
        for key in ("", "ü", "x" * 256):
            with pytest.raises(ClientError, match="the key holds what no header can"):
                client.submit({}, key=key)


def test_what_the_builders_make_is_a_contract_with_every_field_that_was_given() -> None:
    made = contracts.compare(
        contracts.kernel("def f(x, w, y, a): y.copy_(x)", function_name="f", args=_args()),
        contracts.kernel(
            "@triton.jit\ndef k(x, w, y, a, B: tl.constexpr): pass",
            "triton",
            args=[*_args(), contracts.scalar("B", 128, is_meta=True)],
            launch=contracts.launch(["ceildiv(N, 128)"], num_warps=4, num_stages=2),
            kernel_name="k",
        ),
        name="built",
        cases=[contracts.case("small", N=256), contracts.case("large", N=4096)],
        static_args=["w"],
        rtol=1e-3,
        requires={"min_capability": "9.0"},
    )
    types = catalog.contract_types(catalog.load())
    parsed = parse_contract(json.dumps(made).encode(), {}, types=types, limits=Limits())
    assert parsed.warnings == ()
    assert [case.bind for case in parsed.request.cases] == [{"N": 256}, {"N": 4096}]
    candidate = parsed.request.candidate
    assert candidate.io is not None
    assert [arg.name for arg in candidate.io.args] == ["x", "w", "y", "a", "B"]
    assert candidate.io.launch is not None
    assert candidate.io.launch.num_warps == 4


def _args() -> list[contracts.Contract]:
    return [
        contracts.tensor("x", ["N"], "float16", init="uniform", low=-1, high=1, seed=3),
        contracts.embedded("w", bytes(64), [16], "float32"),
        contracts.output("y", ["N"], "float16", atol=1e-2),
        contracts.scalar("a", 0.5),
    ]


def test_a_keyword_that_is_misspelt_is_no_note_of_a_contract() -> None:
    with Client("http://127.0.0.1:9", patience_s=0) as client:
        for call in (
            lambda: client.compare("r", "c", nam="mine"),  # type: ignore[call-arg]
            lambda: client.evaluate("r", nam="mine"),  # type: ignore[call-arg]
        ):
            with pytest.raises(TypeError, match="a contract has no field 'nam'; did you mean 'name'"):
                call()
    assert contracts.compare("r", "c", contract_version=1)["contract_version"] == 1  # type: ignore[call-arg]


def test_the_builders_know_what_the_contract_knows() -> None:
    assert set(typing.get_args(contracts.DType)) == set(DTYPES)
    assert set(typing.get_args(contracts.KernelType)) == set(catalog.load())
    assert set(typing.get_args(contracts.Role)) == set(Role)
    kinds = typing.get_type_hints(contracts.tensor)["init"]
    assert set(typing.get_args(kinds)) == set(InitKind)
    assert set(contracts.Metadata.__annotations__) == set(KernelMetadata.model_fields) - {"extra"}
    assert set(contracts.Fields.__annotations__) == set(RequestFields.model_fields) - {"contract_version"}

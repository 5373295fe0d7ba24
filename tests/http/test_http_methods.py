"""HEAD, methods that a path has not, parameters that come twice, and what is no HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from http_bodies import evaluate
from http_servers import Serve, Server, evald
from starlette.types import Message, Receive, Scope, Send

from daemon.http.methods import HeadAsGet, Methods


@pytest.mark.parametrize("path", ["/health", "/jobs?limit=1", "/metrics", "/docs", "/openapi.json"])
def test_head_answers_as_get_without_a_body(rehearsing: Server, path: str) -> None:
    with rehearsing.client() as client:
        get, head = client.get(path), client.head(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert head.headers["content-type"] == get.headers["content-type"]
        assert int(head.headers["content-length"]) > 0
        assert client.get("/health").status_code == 200  # the connection is as good as before


def test_head_of_a_stream_is_answered_before_its_first_word() -> None:
    """Else the next request on that connection waits for it."""

    async def silent_stream(_scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        assert (await receive())["type"] == "http.disconnect"

    async def silent_client() -> Message:
        return await asyncio.Future()  # type: ignore[no-any-return]

    sent: list[str] = []

    async def send(message: Message) -> None:
        sent.append(message["type"])

    scope = {"type": "http", "method": "HEAD"}
    asyncio.run(asyncio.wait_for(HeadAsGet(silent_stream)(scope, silent_client, send), 60))
    assert sent == ["http.response.start", "http.response.body"]


def test_head_of_a_stream_does_not_wait_for_the_job(serve: Serve) -> None:
    with serve("--judge", "never").client(timeout_s=120) as client:
        job = client.post("/jobs", json=evaluate("never-judged")).json()["job_id"]
        head = client.head(f"/jobs/{job}/events")
        assert head.status_code == 200
        assert head.headers["content-type"].startswith("text/event-stream")
        assert client.head(f"/jobs/{'0' * 32}/events").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PUT", "/jobs", "DELETE, GET, HEAD, POST"),
        ("PATCH", f"/jobs/{'0' * 32}", "DELETE, GET, HEAD"),
        ("GET", "/evaluate", "POST"),
        ("GET", "/", "POST"),
        ("OPTIONS", "/health", "GET, HEAD"),
        ("HEAD", "/compare", "POST"),
    ],
)
def test_a_method_that_a_path_has_not_is_refused_with_those_that_it_has(
    rehearsing: Server, method: str, path: str, allowed: str
) -> None:
    with rehearsing.client() as client:
        refused = client.request(method, path)
    assert refused.status_code == 405
    assert refused.headers["allow"] == allowed
    if method != "HEAD":
        assert refused.json()["hint"] == f"{path} takes {allowed}; GET /docs shows how"


def test_a_whole_url_is_taken_as_its_path_and_wants_a_token(serve: Serve, home: Path) -> None:
    mine = evald(home, "token", "mine").stdout.strip()
    server = serve("--judge", "never")
    head = f"Host: localhost\r\nConnection: close\r\nAuthorization: Bearer {mine}\r\n\r\n"
    for target, status in (
        ("http://localhost:8720/jobs?limit=1", b"200"),
        ("HTTP://judge/jobs/", b"200"),
        ("http://judge/health", b"503"),
        ("http://judge", b"405"),
        ("http://judge/http://judge/jobs", b"404"),
        ("http:/jobs", b"404"),
    ):
        assert _answered(server, f"GET {target} HTTP/1.1\r\n{head}".encode()).split()[1] == status, target


def test_a_whole_url_without_tokens_is_a_proxys(rehearsing: Server) -> None:
    told = _answered(rehearsing, b"GET http://localhost/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert told.split()[1] == b"403"
    assert b"a proxy passes on needs a token" in told


def test_a_browser_that_asks_for_a_page_hears_no_and_why(rehearsing: Server) -> None:
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    with rehearsing.client() as client:
        told = client.options("/jobs", headers=asked)
    assert told.status_code == 405
    assert "no web page may call evald" in told.json()["hint"]


def test_who_closes_its_side_after_a_request_has_its_answer(rehearsing: Server) -> None:
    told = _answered(rehearsing, b"GET /jobs HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert b"200 OK" in told
    assert b"cursor" in told


def test_a_path_that_is_none_is_told_where_the_others_are(rehearsing: Server) -> None:
    with rehearsing.client() as client:
        refused = client.get("/job")
    assert refused.status_code == 404
    assert "/docs" in refused.json()["hint"]


@pytest.mark.parametrize("path", ["/jobs?limit=1&limit=2", "/stats?window=1h&window=2h"])
def test_of_a_parameter_that_comes_twice_none_is_picked(rehearsing: Server, path: str) -> None:
    with rehearsing.client() as client:
        refused = client.get(path)
    assert refused.status_code == 422
    assert "more than once" in refused.json()["error"]


@pytest.mark.parametrize(
    "said",
    [
        b"HELO there\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_in_the_shape_of_every_other_error(rehearsing: Server, said: bytes) -> None:
    head, body = _answered(rehearsing, said).split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 400")
    assert "Invalid" not in rehearsing.story
    assert b"application/json" in head
    assert json.loads(body).keys() == {"error", "hint", "problems", "job_id"}


def test_nonsense_in_the_middle_of_an_answer_ends_the_connection_and_nothing_else(rehearsing: Server) -> None:
    body = json.dumps(evaluate("interrupted-by-nonsense")).encode()
    request = b"POST /evaluate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    with ThreadPoolExecutor() as pool:
        told = pool.submit(_answered, rehearsing, request + b"\x00\x01 nonsense\r\n\r\n")
        with rehearsing.client() as client:
            assert client.get("/health").status_code == 200
        assert told.result(300).startswith(b"HTTP/1.1 ")


def _answered(server: Server, said: bytes) -> bytes:
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port), timeout=300) as connection:
        connection.sendall(said)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_methods_are_those_of_all_routes_at_a_path() -> None:
    methods = Methods([("GET", "/a"), ("POST", "/a"), ("DELETE", "/a/{one}")])
    assert methods.of("/a") == ["GET", "HEAD", "POST"]
    assert methods.of("/a/b") == ["DELETE"]
    assert methods.of("/a/b/c") == []


def test_a_slash_at_the_end_changes_nothing(rehearsing: Server) -> None:
    with rehearsing.client() as client:
        assert client.get("/health/").json()["status"] == "healthy"
        made = client.post("/jobs/", json=evaluate("with-a-slash"))
        assert made.status_code == 202
        assert client.get(f"/jobs/{made.json()['job_id']}/").status_code == 200
        assert client.put("/jobs/").headers["allow"] == "DELETE, GET, HEAD, POST"
        assert 'route="/jobs"' in client.get("/metrics").text


@pytest.mark.parametrize("how", [{"data": {"ref_code": "a b", "custom_code": "c"}}, {"files": {"file": b"{}"}}])
def test_a_form_is_told_that_it_is_no_contract(rehearsing: Server, how: dict[str, object]) -> None:
    with rehearsing.client() as client:
        refused = client.post("/jobs", **how)  # type: ignore[arg-type]
        assert (refused.status_code, refused.json()["error"]) == (415, "the body is a form")
        assert "json=" in refused.json()["hint"]
        as_curl_sends_it = {"content-type": "application/x-www-form-urlencoded"}
        taken = client.post("/jobs", content=json.dumps(evaluate("by-curl")), headers=as_curl_sends_it)
        assert taken.status_code == 202

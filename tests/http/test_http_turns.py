"""Nobody who is slow keeps others from the server: more of each kind than may compute at once, and a quick one."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
from http_bodies import evaluate
from http_servers import Server, started
from waiting import wait_for

MANY = 24


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    made = started(tmp_path_factory.mktemp("turns") / "home", is_held=True, HTTP_BODY_S="600")
    yield made
    made.process.kill()
    made.process.wait()


def is_served(server: Server) -> bool:
    with server.client(timeout_s=120) as client:
        answers = (client.get("/health"), client.get("/jobs"), client.post("/jobs", json=evaluate("quick")))
        return [answer.status_code for answer in answers] == [200, 200, 202]


def test_bodies_that_stop_halfway_hold_nobody_up(server: Server) -> None:
    url = httpx.URL(server.url)
    with ExitStack() as stack:
        for _ in range(MANY):
            slow = stack.enter_context(socket.create_connection((url.host, url.port), timeout=120))
            slow.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert is_served(server)


def test_clients_that_wait_for_results_and_streams_hold_nobody_up(server: Server) -> None:
    with server.client() as client, ThreadPoolExecutor(2 * MANY) as pool:
        followed = client.post("/jobs", json=evaluate("followed")).json()["job_id"]
        for number in range(MANY):
            pool.submit(_quietly, server, "POST", "/evaluate", evaluate(f"waits{number}"))
            pool.submit(_quietly, server, "GET", f"/jobs/{followed}/events", None)
        wait_for(lambda: f"evald_http_waiting {2 * MANY}" in client.get("/metrics").text, "all to wait")
        assert is_served(server)
        server.process.kill()


def _quietly(server: Server, method: str, path: str, body: object) -> None:
    """Ask, and do not mind that the server is killed meanwhile."""
    try:
        with server.client() as client:
            client.request(method, path, json=body)
    except httpx.TransportError:
        return

"""How the Python client comes to its server: each process by itself, past proxies to this machine, and again when one
in between says that nobody is there."""

from __future__ import annotations

import json
import os
import pickle
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from multiprocessing.connection import Connection

import pytest

from daemon.client import Client, ClientError
from daemon.client.connections import is_here

JOB_ID = "0" * 32
GONE = 0  # in place of a status: the connection ends


class _Stub(ThreadingHTTPServer):
    """Answers with one status after the other, then always 200 with a job named after the caller's port."""

    daemon_threads = True

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.statuses = list(statuses)
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Stub

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.asked.append(f"{self.command} {self.path}")
        self.server.tokens.add(self.headers["Authorization"])
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        if status == GONE:
            self.close_connection = True
            return
        job = {"job_id": JOB_ID, "status": "pending", "name": str(self.client_address[1])}
        body = json.dumps(job).encode() if status == 200 else b"<h1>Bad Gateway</h1>"
        self.send_response(status)
        if status == 301:
            self.send_header("Location", f"https://judge.example{self.path}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def stub(*statuses: int) -> Iterator[_Stub]:
    with _Stub(*statuses) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def _connection(client: Client) -> str | None:
    return client.job(JOB_ID).name


def _tell_connection(client: Client, told: Connection) -> None:
    told.send((os.getpid(), _connection(client), _connection(client)))


def test_a_process_that_is_forked_does_not_read_the_answers_to_its_parents_requests() -> None:
    with stub() as server, Client(server.url) as client:
        mine = _connection(client)
        fork = get_context("fork")
        here, there = fork.Pipe()
        child = fork.Process(target=_tell_connection, args=(client, there))
        child.start()
        assert here.poll(60)
        pid, first, second = here.recv()
        child.join(300)
        assert pid == child.pid
        assert first == second != mine
        assert _connection(client) == mine


def test_a_client_can_be_sent_to_a_process_that_is_started_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVALD_TOKEN", raising=False)
    with stub() as server, Client(server.url, "a-token", patience_s=7) as client:
        with pickle.loads(pickle.dumps(client)) as copy:
            assert _connection(copy) != _connection(client)
        assert server.tokens == {"Bearer a-token"}
        assert copy._patience_s == 7


@pytest.mark.parametrize("status", [502, 504])
def test_a_proxy_whose_evald_is_being_started_again_is_waited_out(status: int) -> None:
    with stub(status, status) as server, Client(server.url) as client:
        assert client.submit({"kernel": {}}).job_id == JOB_ID
    assert server.asked == ["POST /jobs"] * 3


@pytest.mark.parametrize("status", [GONE, 502])
def test_a_server_that_is_being_started_is_waited_out_by_who_asks_how_it_is(status: int) -> None:
    with stub(status, status) as server, Client(server.url) as client:
        assert client.health()["status"] == "pending"
    assert server.asked == ["GET /health"] * 3
    with stub(status) as server, Client(server.url, patience_s=0) as client, pytest.raises(ClientError):
        client.health()


@pytest.mark.parametrize(
    ("status", "hint"),
    [
        (413, "a proxy in between? its limits count as well"),
        (301, "it sends elsewhere, to https://judge.example/jobs"),
    ],
)
def test_what_a_proxy_refuses_is_told_as_a_proxys(status: int, hint: str) -> None:
    with stub(status) as server, Client(server.url) as client, pytest.raises(ClientError) as caught:
        client.submit({"kernel": {}})
    assert (caught.value.status, caught.value.hint) == (status, hint)


def test_this_machine_is_asked_past_the_proxy_that_others_are_asked_through(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with stub() as server, Client(server.url) as client:
        assert client.job(JOB_ID).job_id == JOB_ID
    with Client("http://judge.example:8720", patience_s=0) as client, pytest.raises(ClientError) as caught:
        client.stats()
    assert caught.value.hint == "it was asked for through the proxy in HTTP_PROXY; NO_PROXY=judge.example goes past it"
    monkeypatch.setenv("NO_PROXY", "judge.invalid")
    with Client("http://judge.invalid:8720", patience_s=0) as client, pytest.raises(ClientError, match="evald serve"):
        client.stats()


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://localhost:1", True),
        ("http://127.1.2.3", True),
        ("http://[::1]:8720", True),
        ("https://10.0.0.1", False),
        ("http://localhost.example", False),
    ],
)
def test_which_addresses_are_this_machines(url: str, here: bool) -> None:
    assert is_here(url) is here

"""Many clients at once: every one gets its own answer, nothing is lost or doubled, and health answers."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path

import httpx
import pytest
from http_bodies import evaluate
from http_servers import Serve
from waiting import wait_for


async def crowd(url: str, clients: int) -> tuple[list[httpx.Response], list[httpx.Response]]:
    """What each client got, and what a probe got from /health in the meantime."""
    done = asyncio.Event()
    limits = httpx.Limits(max_connections=clients + 10)
    async with httpx.AsyncClient(base_url=url, timeout=400, limits=limits) as client:

        async def one(number: int) -> httpx.Response:
            return await client.post("/evaluate", json=evaluate(f"client{number}", labels={"number": str(number)}))

        async def probe() -> list[httpx.Response]:
            found = []
            while not done.is_set():
                found.append(await client.get("/health"))
                await asyncio.sleep(0.05)
            return found

        probing = asyncio.create_task(probe())
        answers = await asyncio.gather(*(one(number) for number in range(clients)))
        done.set()
        return answers, await probing


@pytest.mark.parametrize("clients", [60, pytest.param(200, marks=pytest.mark.thorough)])
def test_every_one_of_a_crowd_of_clients_gets_its_own_result_once(serve: Serve, clients: int) -> None:
    server = serve(SLOTS="4", REHEARSAL_S="0.01", CLAIM_AHEAD="64", LEASE_S="60")
    with server.client() as client:  # the daemon says a moment after the start that it is there
        wait_for(lambda: client.get("/health").status_code == 200, "the daemon to be seen")
    answers, health = asyncio.run(crowd(server.url, clients))
    assert Counter(answer.status_code for answer in answers) == {200: clients}
    documents = [answer.json() for answer in answers]
    assert [document["name"] for document in documents] == [f"client{number}" for number in range(clients)]
    assert len({document["job_id"] for document in documents}) == clients
    wait_for(lambda: len(server.results()) >= clients, "the files, which follow the database")
    assert {json.loads(file.read_text("utf-8"))["job_id"] for file in server.results()} == {
        document["job_id"] for document in documents
    }
    assert len(server.results()) == clients
    assert [answer.text for answer in health if answer.status_code != 200] == []
    assert len(health) > 3
    with server.client() as client:
        figures = client.get("/metrics").text
        assert f'evald_http_requests_total{{code="200",method="POST",route="/evaluate"}} {clients}.0' in figures
        assert "evald_http_waiting 0.0" in figures
    assert server.stop() == 0
    assert "fault" not in server.story
    assert list((server.home / "inbox").glob("*@*")) == list((server.home / "work").iterdir()) == []


def test_a_server_does_without_what_a_cell_of_the_same_user_could_use_up(serve: Serve) -> None:
    server = serve("--judge", "never")
    with server.client() as client:
        assert client.get("/health").status_code in (200, 503)
        held = [str(fd.readlink()) for fd in Path(f"/proc/{server.process.pid}/fd").iterdir()]
    assert any(one.startswith("socket:") for one in held)
    assert not [one for one in held if "eventpoll" in one or "inotify" in one]

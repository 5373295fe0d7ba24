"""Connections that begin and do not go on: each ends by itself, and those of others go on."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from daemon.http import connections
from daemon.http.connections import Connection

GET = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Open = Callable[[], Coroutine[Any, Any, Streams]]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answers at once, whether the body has come or not; at /read when it has, at /later after a while, at /both a
    while after it has, /never not."""
    if scope["path"] == "/later":
        await asyncio.sleep(0.1)
    while scope["path"] in ("/read", "/both", "/never"):
        message = await receive()
        if message["type"] == "http.disconnect" or (scope["path"] != "/never" and not message["more_body"]):
            break
    if scope["path"] == "/both":
        await asyncio.sleep(0.3)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@asynccontextmanager
async def serving() -> AsyncIterator[Open]:
    config = uvicorn.Config(app, log_config=None, lifespan="off")
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    port = server.sockets[0].getsockname()[1]
    async with server:
        yield lambda: asyncio.open_connection("127.0.0.1", port)


async def answered(streams: Streams, request: bytes = GET) -> None:
    streams[1].write(request)
    await streams[1].drain()
    assert b"200 OK" in await streams[0].readuntil(b"ok")


@pytest.fixture(autouse=True)
def _late(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy this machine is, what is sent at once comes in time."""
    monkeypatch.setattr(connections, "_HEAD_S", 300)


@pytest.mark.parametrize(
    ("request_bytes", "then"),
    [
        (None, b""),
        (None, b"G"),
        (GET, b"G"),
        (b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\n", b"x"),
    ],
    ids=["nothing", "half-a-head", "half-a-second-head", "body-of-what-was-answered"],
)
def test_who_begins_and_does_not_go_on_is_let_go(
    request_bytes: bytes | None, then: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def held() -> None:
        async with serving() as connect:
            if request_bytes is not None:
                reader, writer = streams = await connect()
                await answered(streams, request_bytes)
            monkeypatch.setattr(connections, "_HEAD_S", 0.2)
            if request_bytes is None:
                reader, writer = await connect()
            writer.write(then)
            assert await asyncio.wait_for(reader.read(), 120) == b""

    asyncio.run(held())


@pytest.mark.parametrize("pieces", [[GET], [GET[:10], GET[10:]]], ids=["at-once", "in-pieces"])
def test_who_waits_between_requests_is_not(pieces: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    async def is_kept(head_s: float) -> bool:
        async with serving() as connect:
            streams = await connect()
            await answered(streams)
            monkeypatch.setattr(connections, "_HEAD_S", head_s)
            try:
                for piece in pieces:
                    streams[1].write(piece)
                    await streams[1].drain()
                await streams[0].readuntil(b"ok")
                await asyncio.sleep(1.5 * head_s)
                monkeypatch.setattr(connections, "_HEAD_S", 300)
                await answered(streams)
            except (ConnectionError, asyncio.IncompleteReadError):
                return False
            return True

    # The first may be too short for a whole head on a busy machine.
    assert any(asyncio.run(is_kept(head_s)) for head_s in (0.2, 2.0, 20.0))


def test_those_beyond_what_there_are_descriptors_for_are_refused_and_the_others_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (connections._KEPT_FREE + 2, 4096))

    async def crowd() -> None:
        async with serving() as connect:
            first, second = await connect(), await connect()
            await answered(first)
            await answered(second)
            reader, writer = await connect()
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await answered((reader, writer))
            await answered(first)
            second[1].close()
            await second[1].wait_closed()
            await answered(await connect())

    asyncio.run(crowd())


@pytest.mark.parametrize(
    ("request_bytes", "told"),
    [
        (GET.replace(b"/ ", b"/later "), b"ok"),
        (b"POST /later HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nab", b"ok"),
        (b"POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 9\r\n\r\nab", b""),
        (GET[:10], b""),
        (GET.replace(b"/ ", b"/never "), b""),
    ],
    ids=["get", "post", "half-a-body", "half-a-head", "who-waits-for-a-job"],
)
def test_who_closes_its_side_has_the_answer_to_a_whole_request_that_comes_soon(
    monkeypatch: pytest.MonkeyPatch, request_bytes: bytes, told: bytes
) -> None:
    monkeypatch.setattr(connections, "_HALF_CLOSED_S", 0.5)

    async def half_closed() -> bytes:
        async with serving() as connect:
            reader, writer = await connect()
            writer.write(request_bytes)
            writer.write_eof()
            return await asyncio.wait_for(reader.read(), 300)

    assert asyncio.run(half_closed())[-2:] == told


def answer_to(*pieces: bytes, until: bytes | None = None, closes_its_side: bool = False) -> bytes:
    """What a server says to requests that are sent in these pieces, until it says that or ends the connection."""

    async def asked() -> bytes:
        async with serving() as connect:
            reader, writer = await connect()
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.05)
            if closes_its_side:
                writer.write_eof()
            return await asyncio.wait_for(reader.readuntil(until) if until else reader.read(), 120)

    return asyncio.run(asked())


SLOW = GET.replace(b"/ ", b"/both ")
POSTED = b"POST /both HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nab"


@pytest.mark.parametrize(
    "pieces",
    [[SLOW + SLOW], [SLOW, SLOW + SLOW], [POSTED, POSTED + SLOW], [SLOW + GET, GET]],
    ids=["at-once", "in-two", "with-bodies", "quick-ones"],
)
def test_who_sends_several_requests_and_closes_its_side_has_all_the_answers(pieces: list[bytes]) -> None:
    """An app that has asked whether there is more of the first lets the end of what is sent be read before the next."""
    assert answer_to(*pieces, closes_its_side=True).count(b"200 OK") == b"".join(pieces).count(b" HTTP/1.1\r\n")


CHUNKED = b"POST /read HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunks(count: int, size: int) -> bytes:
    return (b"%x\r\n" % size + b"a" * size + b"\r\n") * count


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([CHUNKED + chunks(1000, 1) + END], b"chunks of a few bytes"),
        ([CHUNKED, *([chunks(100, 1)] * 6)], b"chunks of a few bytes"),
        ([GET[:-2] + b"a: b\r\n" * 1000 + b"\r\n"], b"more than 128 headers"),
        ([GET[:-2], b"a: b\r\n" * 1000, b"\r\n"], b"more than 128 headers"),
        ([GET + GET[:-2] + b"a: b\r\n" * 1000 + b"\r\n"], b"more than 128 headers"),
        ([CHUNKED + chunks(1, 9) + b"0\r\na: b\r\n\r\n"], b"headers behind the body"),
        ([CHUNKED + chunks(1, 9) + b"0\r\n", b"a: b\r\n\r\n"], b"headers behind the body"),
        ([CHUNKED + b"00;x=y\r\na: b\r\n\r\n"], b"headers behind the body"),
    ],
)
def test_what_takes_longer_to_read_than_to_send_is_refused(pieces: list[bytes], words: bytes) -> None:
    answer = answer_to(*pieces)
    assert words in answer
    assert b"HTTP/1.1 400" in answer


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (CHUNKED[:-2] + b"Content-Length: 8\r\n\r\n", b"both Content-Length and Transfer-Encoding"),
        (CHUNKED.replace(b"Transfer", b"content-length: 8\r\ntransfer"), b"both Content-Length and Transfer-Encoding"),
        (CHUNKED.replace(b"/1.1", b"/1.0"), b"Transfer-Encoding in HTTP/1.0"),
        (CHUNKED[:-2] + b"Transfer-Encoding: chunked\r\n\r\n", b"invalid http request"),
    ],
    ids=["both", "the-other-way-round", "of-the-old-version", "twice"],
)
def test_a_body_whose_end_is_said_in_two_ways_is_refused(head: bytes, words: bytes) -> None:
    """What follows upon it is no request then."""
    answer = answer_to(head + chunks(1, 3) + END + GET)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 501"))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert words.lower() in answer.lower()


@pytest.mark.parametrize(
    "pieces",
    [
        [CHUNKED + chunks(300, 1) + END],
        [CHUNKED + chunks(2000, 100) + END],
        [
            CHUNKED,
            *(chunks(1, 3)[place : place + 1] for place in range(8)),
            *(END[place : place + 1] for place in range(5)),
        ],
        [CHUNKED + chunks(3, 1000), b"0\r\n", b"\r", b"\n"],
        [GET.replace(b"/", b"/read", 1)[:-2] + b"a: b\r\n" * 100 + b"\r\n"],
        [b"POST /read HTTP/1.1\r\nHost: here\r\nContent-Length: 1200\r\n\r\n", *[b"\n" * 60] * 20],
    ],
    ids=["few", "of-a-hundred-bytes", "byte-by-byte", "end-in-pieces", "a-hundred-headers", "body-of-lines"],
)
def test_what_clients_send_is_read(pieces: list[bytes]) -> None:
    assert b"200 OK" in answer_to(*pieces, until=b"ok")

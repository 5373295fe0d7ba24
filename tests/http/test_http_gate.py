"""Who gets in: tokens, roles, limits on rate, size, time and number; and what a server refuses to start with."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from http_bodies import evaluate
from http_servers import Serve, Server, evald, events
from waiting import wait_for

from daemon.client import Client
from daemon.config import Http
from daemon.errors import OperatorError
from daemon.http.gate import Gate, Rate
from daemon.http.page import page_of
from daemon.http.refusals import Refusal
from daemon.http.tokens import Caller, Role, Tokens

ROUTES = (
    ("POST", "/evaluate"), ("POST", "/compare"), ("POST", "/"), ("POST", "/jobs"), ("GET", "/jobs"),
    ("GET", f"/jobs/{'0' * 32}"), ("GET", f"/job/{'0' * 32}"), ("GET", f"/jobs/{'0' * 32}/result"),
    ("GET", f"/jobs/{'0' * 32}/events"), ("DELETE", f"/jobs/{'0' * 32}"), ("GET", "/stats"), ("GET", "/metrics"),
    ("POST", "/admin/cleanup-jobs"), ("DELETE", "/jobs"),
)  # fmt: skip


def token(home: Path, name: str, *options: str) -> str:
    ran = evald(home, "token", name, *options)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def spoken(server: Server, request: bytes) -> bytes:
    """The status line that is answered to these very bytes."""
    address = httpx.URL(server.url)
    with socket.create_connection((address.host, address.port or 0), timeout=120) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            return answer.readline()


def test_with_tokens_every_route_but_health_wants_one(serve: Serve, home: Path) -> None:
    mine = token(home, "mine")
    server = serve()
    with server.client() as stranger, server.client("evald_wrong") as liar, server.client(mine) as client:
        described = client.get("/openapi.json").json()["paths"]
        told = {(method.upper(), path) for path, methods in described.items() for method in methods}
        tried = {(method, path.replace("0" * 32, "{job_id}")) for method, path in ROUTES}
        assert told == tried | {("GET", "/health")}
        for method, path in ROUTES:
            for client_ in (stranger, liar):
                answer = client_.request(method, path, content=b"{}")
                assert answer.status_code == 401, path
                assert answer.headers["www-authenticate"] == "Bearer"
        wait_for(lambda: stranger.get("/health").status_code == 200, "the daemon to be seen")
        assert client.post("/evaluate", json=evaluate()).status_code == 200
        assert evald(home, "token", "mine", "--revoke").returncode == 0
        assert client.get("/jobs").status_code == 401
        assert stranger.get("/jobs").status_code == 401  # the last token is gone: nobody gets in, not everybody
        (home / "state" / "tokens").write_text("garbage", "utf-8")
        assert client.get("/jobs").status_code == 503


def test_the_description_is_for_everybody_and_needs_nothing_from_elsewhere(serve: Serve, home: Path) -> None:
    token(home, "mine")
    with serve("--judge", "never").client() as stranger:
        described, page = stranger.get("/openapi.json"), stranger.get("/docs", headers={"Origin": "https://a.example"})
        assert (described.status_code, page.status_code) == (200, 200)
        assert page.headers["content-type"].startswith("text/html")
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        for path, methods in described.json()["paths"].items():
            assert all(f"<h2>{method.upper()} {path}</h2>" in page.text for method in methods), path
        for word in ("<script", "http://", "https://", "src=", "@import", str(home), "mine"):
            assert word not in page.text, word
        assert "custom_kernel" in page.text
        assert str(home) not in described.text


def test_the_page_shows_text_and_never_markup() -> None:
    evil = "<b>`<i>`"
    operation = {"summary": evil, "description": evil, "responses": {"200": {"description": evil}}}
    operation |= {"parameters": [{"name": evil, "in": "query", "description": evil}]}
    page = page_of({"info": {"version": evil, "description": evil}, "paths": {"/<b>": {"get": operation}}})
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<code>&lt;i&gt;</code>" in page


def test_a_caller_cancels_its_own_jobs_and_an_admin_any(serve: Serve, home: Path) -> None:
    mine, theirs, admins = token(home, "mine"), token(home, "theirs"), token(home, "root", "--admin")
    server = serve(is_held=True)
    with server.client(mine) as me, server.client(theirs) as them, server.client(admins) as admin:
        jobs = [me.post("/jobs", json=evaluate()).json()["job_id"] for _ in range(2)]
        refused = them.delete(f"/jobs/{jobs[0]}")
        assert refused.status_code == 403
        assert "theirs" in refused.json()["error"]
        assert them.get(f"/jobs/{jobs[0]}").status_code == 200
        for who, job in ((me, jobs[0]), (admin, jobs[1])):  # on a busy machine it may be changing hands for seconds
            wait_for(lambda who=who, job=job: who.delete(f"/jobs/{job}").status_code == 200, "it to be cancelled")
        assert "by root" in me.get(f"/jobs/{jobs[1]}/result").json()["message"]
        assert me.post("/admin/cleanup-jobs").status_code == 403
        plan = admin.post("/admin/cleanup-jobs", json={"older_than": "0s", "keep_best": 0, "dry_run": True}).json()
        assert sorted(plan["job_ids"]) == sorted(jobs)
        assert admin.post("/admin/cleanup-jobs").json()["removed"] == 0
        assert admin.post("/admin/cleanup-jobs", json={"older_than": "0s"}).json()["removed"] == 2
        assert me.get(f"/jobs/{jobs[0]}").status_code == 404
        for wrong in ({"older_then": "1d"}, {"keep_best": -1}, [], "x"):
            assert admin.post("/admin/cleanup-jobs", json=wrong).status_code == 400, wrong


def test_a_sweep_is_cancelled_by_its_label_by_its_sender_and_by_an_admin_whosever_it_is(
    serve: Serve, home: Path
) -> None:
    mine, theirs, admins = token(home, "mine"), token(home, "theirs"), token(home, "root", "--admin")
    server = serve("--judge", "never")
    sweep = {"labels": {"sweep": "1"}}
    with server.client(mine) as me, server.client(theirs) as them, server.client(admins) as admin:
        own = {me.post("/jobs", json=evaluate(**sweep)).json()["job_id"] for _ in range(3)}
        others = {them.post("/jobs", json=evaluate(**sweep)).json()["job_id"]}
        me.post("/jobs", json=evaluate(labels={"sweep": "2"}))
        for query, field in (("", "label"), ("?label=sweep", "label"), ("?label=a%3Db&dry=1", "dry")):
            refused = me.delete(f"/jobs{query}")
            assert refused.status_code == 422, query
            assert field in refused.text
        plan = me.delete("/jobs", params={"label": "sweep=1", "dry_run": "true"}).json()
        assert ({one["job_id"] for one in plan["cancelled"]}, plan["dry_run"]) == (own, True)
        assert all(me.get(f"/jobs/{job_id}").json()["status"] == "pending" for job_id in own | others)
        with Client(server.url, mine) as client:
            assert set(client.cancel_labelled("sweep=1")) == own
            assert client.cancel_labelled("sweep=1") == []
        told = me.get(f"/jobs/{min(own)}/result").json()
        assert (told["verdict"], told["message"]) == ("rejected", "cancelled by mine (HTTP)")
        assert them.get(f"/jobs/{min(others)}").json()["status"] == "pending"
        (home / "dropped.part").write_text(json.dumps(evaluate("dropped", **sweep)), "utf-8")
        (home / "dropped.part").rename(home / "inbox" / "dropped.json")
        ended = admin.delete("/jobs?label=sweep%3D1").json()
        assert ended["more"] is False
        assert {one["name"] for one in ended["cancelled"]} == {"one.json", "dropped.json"}
        assert others < {one["job_id"] for one in ended["cancelled"]}
        assert len(list((home / "inbox").glob("*@*"))) == 1


def test_where_results_are_for_submitters_others_see_no_trace_of_a_job(serve: Serve, home: Path) -> None:
    mine, theirs = token(home, "mine"), token(home, "theirs")
    server = serve(RESULTS_FOR="submitter")
    with server.client(mine) as me, server.client(theirs) as them:
        job_id = me.post("/evaluate", json=evaluate()).json()["job_id"]
        assert me.get(f"/jobs/{job_id}/result").status_code == 200
        for place in ("", "/result", "/events"):
            assert them.get(f"/jobs/{job_id}{place}").status_code == 404
        assert them.delete(f"/jobs/{job_id}").status_code == 404
        assert them.get("/jobs").json()["jobs"] == []
        assert len(me.get("/jobs").json()["jobs"]) == 1


def test_without_tokens_only_programs_of_this_machine_get_in(serve: Serve) -> None:
    server = serve("--judge", "never")
    with server.client() as client:
        assert client.get("/jobs").status_code == 200
        assert client.get("/jobs", headers={"Origin": "https://evil.example"}).status_code == 403
        assert client.get("/jobs", headers={"X-Forwarded-For": "8.8.8.8"}).status_code == 403
        assert b" 403 " in spoken(server, b"GET /jobs HTTP/1.0\r\nHost: localhost\r\n\r\n")  # as nginx passes on
        assert b" 200 " in spoken(server, b"GET /jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        rebound = client.get("/jobs", headers={"Host": "evil.example"})
        assert rebound.status_code == 403
        assert "evald token" in rebound.json()["hint"]
        answer = client.options(
            "/jobs", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
        )
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_an_address_others_can_reach_needs_a_token_to_start(home: Path) -> None:
    ran = evald(home, "serve", "--host", "0.0.0.0", "--port", "0")
    assert ran.returncode == 2
    assert f"evald --home {home} token NAME" in ran.stderr
    assert str(home / "state" / "tokens") in ran.stderr
    assert not (home / "inbox").exists()


def test_a_port_that_is_taken_and_a_host_that_is_none_are_one_line(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ran = evald(home, "serve", "--port", str(taken.getsockname()[1]))
    assert ran.returncode == 2
    assert "--port" in ran.stderr
    ran = evald(home, "serve", "--host", "no.such.host.invalid")
    assert ran.returncode == 2
    assert "http.host" in ran.stderr


def test_a_body_too_large_is_refused_by_its_head_or_as_it_comes(serve: Serve) -> None:
    server = serve("--judge", "never", HTTP_BODY_BYTES="1000")
    with server.client() as client:
        large = json.dumps(evaluate(notes="x" * 2000)).encode()
        assert client.post("/jobs", content=large).status_code == 413

        def pieces():  # type: ignore[no-untyped-def]
            yield large[:500]
            yield large[500:]

        assert client.post("/jobs", content=pieces()).status_code == 413
        assert client.post("/jobs", json=evaluate()).status_code == 202


def test_bodies_that_arrive_together_share_a_limit_and_leave_nothing_behind(serve: Serve) -> None:
    server = serve("--judge", "never", HTTP_BODIES_BYTES="1000")
    with server.client() as client:
        for _ in range(3):
            large = client.post("/jobs", content=json.dumps(evaluate(notes="x" * 2000)))
            assert large.status_code == 503
            assert large.headers["retry-after"]
        assert client.post("/jobs", json=evaluate()).status_code == 202


def test_a_body_counts_with_those_that_are_here(tmp_path: Path) -> None:
    gate = Gate(Http(bodies_bytes=1000), Tokens(tmp_path / "tokens"), "127.0.0.1")
    gate.take(600)
    with pytest.raises(Refusal) as refused:
        gate.take(500)
    assert refused.value.status == 503
    gate.take(400)


def test_who_is_sending_a_body_when_the_server_stops_is_told_and_who_has_gone_away_is_no_bug(serve: Serve) -> None:
    server = serve("--judge", "never")
    url = httpx.URL(server.url)
    begun = b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n"
    with socket.create_connection((url.host, url.port), timeout=120) as slow:
        with socket.create_connection((url.host, url.port), timeout=120) as gone:
            for client in (slow, gone):
                client.sendall(begun)
                assert client.recv(4096).startswith(b"HTTP/1.1 100"), "the server waits for its body"
                client.sendall(b"{")
        server.process.send_signal(signal.SIGTERM)
        assert slow.recv(4096).startswith(b"HTTP/1.1 503")
    assert server.process.wait(300) == 0
    assert "Traceback" not in server.story


def test_a_body_that_never_comes_does_not_hold_the_server(serve: Serve) -> None:
    server = serve("--judge", "never", HTTP_BODY_S="2")
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port), timeout=120) as slow:
        slow.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
    with server.client() as client:  # whose body may come late too, on a busy machine
        wait_for(lambda: client.post("/jobs", json=evaluate()).status_code == 202, "a whole body to be taken")


def test_too_many_requests_and_too_many_unfinished_jobs_are_told_when_to_come_again(serve: Serve, home: Path) -> None:
    fast, slow = token(home, "fast"), token(home, "slow")
    server = serve("--judge", "never", HTTP_JOBS_PER_TOKEN="3", HTTP_BURST="40", HTTP_REQUESTS_PER_S="0.0001")
    with server.client(fast) as client, server.client(slow) as other:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: client.post("/jobs", json=evaluate()), range(20)))
        codes = [answer.status_code for answer in answers]
        assert (codes.count(202), codes.count(429)) == (3, 17)
        assert all(int(answer.headers["retry-after"]) > 0 for answer in answers if answer.status_code == 429)
        assert "3 are allowed" in next(answer for answer in answers if answer.status_code == 429).json()["error"]
        assert other.post("/jobs", json=evaluate()).status_code == 202
        codes = [client.get("/jobs").status_code for _ in range(25)]
        assert codes.count(200) == 20
        assert codes[-1] == 429
        assert other.get("/jobs").status_code == 200
        assert client.get("/health").status_code in (200, 503)
    assert len(list((home / "inbox").glob("*@*"))) == 4


def test_no_token_is_made_by_which_somebody_could_read_and_cancel_the_jobs_of_another(tmp_path: Path) -> None:
    """A tag has 32 bits, and names that have the same are found in a second."""
    tokens = Tokens(tmp_path / "tokens")
    first = tokens.caller(tokens.add("ci-62966", Role.SUBMIT))
    assert first is not None
    assert first.owns("0" * 24 + Caller("ci-67674", Role.SUBMIT).tag)
    for name, whose in (("ci-67674", "ci-62966"), ("local", "whoever called before")):
        with pytest.raises(OperatorError, match=f"the jobs of {whose}"):
            tokens.add(name, Role.SUBMIT)
    assert tokens.callers() == (first,)
    tokens.revoke("ci-62966")
    with pytest.raises(OperatorError, match="the jobs of ci-62966"):  # which are there still
        tokens.add("ci-67674", Role.SUBMIT)
    again = tokens.caller(tokens.add("ci-62966", Role.SUBMIT))
    assert again is not None
    assert tokens.callers() == (again,)
    assert "revoked" not in (tmp_path / "tokens").read_text()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_others_drop_under_ids_with_a_callers_tag_is_not_the_callers(serve: Serve, home: Path) -> None:
    caller = token(home, "ci")
    server = serve("--judge", "never", HTTP_JOBS_PER_TOKEN="2")
    for number in range(5):
        folder = home / "inbox" / f"anything@{number:024x}{Caller('ci', Role.SUBMIT).tag}"
        folder.mkdir()
        os.chown(folder, 4321, 4321)
    with server.client(caller) as client:
        assert [client.post("/jobs", json=evaluate()).status_code for _ in range(3)] == [202, 202, 429]


def test_waiting_requests_are_bounded(serve: Serve) -> None:
    server: Server = serve(HTTP_STREAMS="2", is_held=True)
    with server.client() as client, ThreadPoolExecutor(2) as pool:
        held = [pool.submit(client.post, "/evaluate", json=evaluate(f"held{number}")) for number in range(2)]
        wait_for(lambda: "evald_http_waiting 2" in client.get("/metrics").text, "two to wait")
        wait_for(lambda: len(client.get("/jobs").json()["jobs"]) == 2, "both to be claimed")
        refused = client.post("/evaluate", json=evaluate("third"))
        assert refused.status_code == 503
        jobs = client.get("/jobs").json()["jobs"]
        assert len(jobs) + len(list((server.home / "inbox").glob("*@*"))) == 2, "who cannot wait has made no job"
        assert client.get(f"/jobs/{jobs[0]['job_id']}/events").status_code == 503
        assert server.stop() == 0
        assert [one.result().status_code for one in held] == [503, 503]


def test_one_caller_cannot_take_all_the_places_for_waiting(serve: Serve, home: Path) -> None:
    mine, theirs = token(home, "mine"), token(home, "theirs")
    server: Server = serve(HTTP_STREAMS="3", HTTP_STREAMS_PER_TOKEN="1", is_held=True)
    with server.client(mine) as me, server.client(theirs) as them, ThreadPoolExecutor(2) as pool:
        held = [pool.submit(me.post, "/evaluate", json=evaluate("mine"))]
        wait_for(lambda: len(me.get("/jobs").json()["jobs"]) == 1, "one to be claimed")
        refused = me.post("/evaluate", json=evaluate("mine too"))
        assert refused.status_code == 429
        assert "1 requests of mine wait" in refused.json()["error"]
        assert int(refused.headers["retry-after"]) > 0
        jobs = me.get("/jobs").json()["jobs"]
        assert len(jobs) + len(list((home / "inbox").glob("*@*"))) == 1, "who cannot wait has made no job"
        assert me.get(f"/jobs/{jobs[0]['job_id']}/events").status_code == 429
        held.append(pool.submit(them.post, "/evaluate", json=evaluate("theirs")))
        wait_for(lambda: "evald_http_waiting 2" in me.get("/metrics").text, "the other one to wait")
        assert server.stop() == 0
        assert [one.result().status_code for one in held] == [503, 503]


def test_who_is_revoked_while_waiting_learns_no_more(serve: Serve, home: Path) -> None:
    mine, theirs = token(home, "mine"), token(home, "theirs")
    server: Server = serve(is_held=True)
    with server.client(mine) as me, server.client(theirs) as them, ThreadPoolExecutor(2) as pool:
        wait_for(lambda: me.get("/health").status_code == 200, "the daemon to be seen")
        followed = me.post("/jobs", json=evaluate("followed")).json()["job_id"]
        stream = pool.submit(events, me, followed)
        blocked = pool.submit(me.post, "/evaluate", json=evaluate("blocked"))
        wait_for(lambda: "evald_http_waiting 2" in them.get("/metrics").text, "both to wait")
        Tokens(home / "state" / "tokens").revoke("mine")
        server.let_go("followed", "blocked")
        kind, told = stream.result()[-1]
        assert kind == "refused"
        assert "revoked" in told["error"]
        assert blocked.result().status_code == 401
        wait_for(lambda: them.get(f"/jobs/{followed}/result").status_code == 200, "the job to go on")


def test_a_rate_lets_a_burst_through_and_then_its_share() -> None:
    rate = Rate(per_s=2, burst=3)
    assert [rate.wait_s("a", 0.0) for _ in range(4)] == [0, 0, 0, 0.5]
    assert rate.wait_s("b", 0.0) == 0
    assert rate.wait_s("a", 0.5) == 0
    assert rate.wait_s("a", 0.5) > 0
    assert [rate.wait_s("a", 1000.0) for _ in range(4)][2:] == [0, 0.5]


def test_where_there_was_a_token_everybody_needs_one_also_while_the_file_is_away(tmp_path: Path) -> None:
    tokens = Tokens(tmp_path / "tokens")
    assert not tokens.are_used
    secret = Tokens(tmp_path / "tokens").add("one", Role.ADMIN)
    assert tokens.are_used
    (tmp_path / "tokens").rename(tmp_path / "away")
    assert (tokens.are_used, tokens.caller(secret)) == (True, None)
    (tmp_path / "away").rename(tmp_path / "tokens")
    assert tokens.caller(secret) is not None


def test_tokens_are_kept_as_hashes_and_read_again_when_they_change(tmp_path: Path) -> None:
    tokens, watching = Tokens(tmp_path / "tokens"), Tokens(tmp_path / "tokens")
    secret = tokens.add("one", Role.ADMIN)
    assert secret not in (tmp_path / "tokens").read_text("utf-8")
    assert (tmp_path / "tokens").stat().st_mode & 0o777 == 0o600
    found = watching.caller(secret)
    assert found is not None
    assert (found.name, found.role) == ("one", Role.ADMIN)
    assert watching.caller(secret[:-1]) is None
    for name in ("one", "", "a b", "../x"):
        with pytest.raises(OperatorError, match="token"):
            tokens.add(name, Role.SUBMIT)
    tokens.revoke("one")
    with pytest.raises(OperatorError, match="no token one"):
        tokens.revoke("one")
    assert watching.caller(secret) is None
    (tmp_path / "tokens").write_text("garbage\n", "utf-8")
    with pytest.raises(OperatorError, match=r"tokens:1"):
        Tokens(tmp_path / "tokens").callers()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_makes_for_a_server_of_another_user_is_that_users(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    os.chown(state, 4321, 4322)
    Tokens(state / "tokens").add("mine", Role.SUBMIT)
    owners = {path.name: (path.stat().st_uid, path.stat().st_gid) for path in state.iterdir()}
    assert len(owners) == 2, "the tokens, and what keeps two from writing them at once"
    assert set(owners.values()) == {(4321, 4322)}


def test_the_token_command_lists_makes_and_takes_back(home: Path) -> None:
    assert f"evald --home {home} token NAME" in evald(home, "token").stdout
    made = json.loads(evald(home, "token", "ci", "--admin", "--json").stdout)
    assert made["name"] == "ci"
    assert json.loads(evald(home, "token", "--json").stdout) == {"tokens": [{"name": "ci", "role": "admin"}]}
    assert "admin" in evald(home, "token").stdout
    assert evald(home, "token", "ci").returncode == 2
    assert evald(home, "token", "--revoke").returncode == 2
    assert evald(home, "token", "ci", "--revoke").returncode == 0


def test_with_json_the_url_is_told_as_soon_as_it_listens(home: Path) -> None:
    given = {"EVALD_HOME": str(home), "EVALD_ENGINE": "rehearsal", "EVALD_HTTP_PORT": "0"}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"} | given
    command = [sys.executable, "-m", "daemon", "serve", "--json", "--judge", "never"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as ran:
        try:
            assert ran.stdout is not None
            told = json.loads("".join(ran.stdout.readline() for _ in range(3)))
            assert httpx.get(f"{told['url']}/health", timeout=120).status_code in (200, 503)
            ran.terminate()
            assert ran.wait(120) == 0
        finally:
            ran.kill()


def test_what_is_ambiguous_in_a_header_is_refused(serve: Serve) -> None:
    server: Server = serve("--judge", "never")
    with server.client() as client:
        keys = [("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
        twice = client.post("/jobs", json=evaluate(), headers=keys)
        assert (twice.status_code, twice.json()["error"]) == (422, "several Idempotency-Key headers")
        for coding in ("gzip", "br"):
            coded = client.post("/jobs", json=evaluate(), headers={"Content-Encoding": coding})
            assert (coded.status_code, coded.headers["accept-encoding"]) == (415, "identity")
            assert coding in coded.json()["error"]
            assert client.post("/admin/cleanup-jobs", json={}, headers={"Content-Encoding": coding}).status_code == 415
        for packed in (gzip.compress(b"{}"), b"PK\x03\x04..."):  # and nothing says so
            refused = client.post("/jobs", content=packed)
            assert (refused.status_code, "source_code" in refused.json()["hint"]) == (415, True)
        assert client.post("/jobs", json=evaluate(), headers={"Content-Encoding": "identity"}).status_code == 202


@pytest.mark.parametrize(
    ("body", "field", "meant"),
    [
        (b'{"older_then": "30d", "dry_run": true}', "older_then", "older_than"),
        (b'{"dry_run": true, "dry_run": false}', "", None),
        (b'{"keep_best": -1}', "keep_best", None),
        (b"[1]", "", None),
        (b"{", "", None),
        (b"[" * 100_000, "", None),
    ],
)
def test_an_order_to_clean_up_that_is_none_says_what_is_wrong_and_removes_nothing(
    rehearsing: Server, body: bytes, field: str, meant: str | None
) -> None:
    with rehearsing.client() as client:
        answer = client.post("/admin/cleanup-jobs", content=body)
        assert answer.status_code == 400
        [problem] = answer.json()["problems"]
        assert (problem["field"], problem["suggestion"]) == (field, meant)

"""What was found by attack: storage that fails in the middle, clients that vanish, keys that tear."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from damaged_pages import damage
from http_bodies import evaluate
from http_servers import Serve, Server, evald
from sqlalchemy import text
from waiting import wait_for

from daemon import durations, labelled
from daemon.claims import new_job
from daemon.client import Client, ClientError
from daemon.config import Http, Settings
from daemon.db import migrate
from daemon.db.connection import Database
from daemon.db.daemon_records import DaemonNote
from daemon.db.errors import StorageDamaged, StorageUnavailable
from daemon.db.history import History
from daemon.db.records import Lease, NewJob, Published
from daemon.db.repository import Repository
from daemon.db.repository_daemons import DaemonRepository
from daemon.errors import OperatorError
from daemon.evaluation import Evaluation
from daemon.executor import catalog
from daemon.http import routes_jobs, serving, submission
from daemon.http.app import make_app
from daemon.http.refusals import Refusal
from daemon.http.submission import Keys, Submission
from daemon.http.tokens import Caller, Role, Tokens
from daemon.intake.owner import Owner
from daemon.intake.spool import Spool
from daemon.intake.submit import submit_document
from daemon.publishing import Finished, Publisher


def test_a_job_counts_against_its_callers_limit_while_it_is_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a slow disk: it is not in the inbox yet when the next one comes, and the last count is long ago."""
    monkeypatch.setattr(submission, "_COUNT_AGAIN_S", 0.0)
    monkeypatch.setattr(submission, "_COUNT_AGAIN_AT_LIMIT_S", 0.0)
    settings = Settings(home=tmp_path / "home", http=Http(jobs_per_token=1))
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    database = Database(settings.database_url)
    types = catalog.contract_types(catalog.load(settings.backend_paths))
    submissions = Submission(settings, Spool(settings.paths, Owner.current()), History(database), types)
    body = json.dumps(evaluate()).encode()
    parsed, caller, refused = submissions.check(body), Caller("model", Role.SUBMIT), list[int]()

    def slowly(*given: object) -> object:
        with pytest.raises(Refusal) as refusal:
            submissions.drop(body, parsed, caller, None)
        refused.append(refusal.value.status)
        return submit_document(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(submission, "submit_document", slowly)
    first = submissions.drop(body, parsed, caller, None)
    assert refused == [429]
    assert [entry.name.endswith(first.job_id) for entry in settings.paths.inbox.iterdir()] == [True]
    database.close()


def test_a_bundle_that_is_being_claimed_counts_against_its_callers_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is claimed and in no database yet, and then registered between two looks: never does it count as none."""
    monkeypatch.setattr(submission, "_COUNT_AGAIN_S", 0.0)
    monkeypatch.setattr(submission, "_COUNT_AGAIN_AT_LIMIT_S", 0.0)
    settings = Settings(home=tmp_path / "home", http=Http(jobs_per_token=1))
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    database = Database(settings.database_url)
    history, repository = History(database), Repository(database)
    spool = Spool(settings.paths, Owner.current())
    submissions = Submission(settings, spool, history, catalog.contract_types(catalog.load(settings.backend_paths)))
    body = json.dumps(evaluate()).encode()
    parsed, caller = submissions.check(body), Caller("model", Role.SUBMIT)

    def is_refused() -> bool:
        with pytest.raises(Refusal) as refusal:
            submissions.drop(body, parsed, caller, None)
        return refusal.value.status == 429

    job = submissions.drop(body, parsed, caller, None)
    claimed = spool.claim(*spool.waiting_for(job.job_id))
    assert is_refused()
    ask = History.unfinished_ending_in

    def registering(its: History, *given: object) -> set[str]:
        try:
            return ask(its, *given)  # type: ignore[arg-type]
        finally:
            repository.register(new_job(claimed))

    with monkeypatch.context() as patch:
        patch.setattr(History, "unfinished_ending_in", registering)
        assert is_refused()
    assert is_refused()
    assert Publisher(settings, spool, repository, history).cancel(job.job_id, "me") is not None
    assert submissions.drop(body, parsed, caller, None).job_id != job.job_id
    database.close()


def test_the_bundle_of_an_ended_job_that_is_still_to_be_put_away_counts_no_more(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", http=Http(jobs_per_token=1))
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    database = Database(settings.database_url)
    spool, repository = Spool(settings.paths, Owner.current()), Repository(database)
    types = catalog.contract_types(catalog.load(settings.backend_paths))
    body, caller = json.dumps(evaluate()).encode(), Caller("model", Role.SUBMIT)

    def dropped() -> str:
        submissions = Submission(settings, spool, History(database), types)
        return submissions.drop(body, submissions.check(body), caller, None).job_id

    job_id = dropped()
    claimed = spool.claim(*spool.waiting_for(job_id))
    lease = repository.register_leased(new_job(claimed), "me", 60)
    assert lease is not None
    repository.publish(lease, Published(Evaluation.rejected("for a test"), {}))
    assert claimed.path.exists()
    assert dropped() != job_id
    database.close()


class Away(Repository):
    """A database that cannot be told anything."""

    def register_seized(self, job: NewJob, owner: str, lease_s: float) -> Lease | None:
        raise StorageUnavailable("the database is locked")


def test_a_cancel_that_the_database_cannot_be_told_puts_the_bundle_back(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    database = Database(settings.database_url)
    spool = Spool(settings.paths, Owner.current())
    dropped = submit_document(b"{}", "kept", settings.paths.inbox)
    with pytest.raises(StorageUnavailable):
        Publisher(settings, spool, Away(database), History(database)).cancel(dropped.job_id, "me")
    assert spool.waiting_for(dropped.job_id) == [f"kept.json@{dropped.job_id}"]
    assert list(settings.paths.work.iterdir()) == []
    assert Publisher(settings, spool, Repository(database), History(database)).cancel(dropped.job_id, "me") is not None
    database.close()


def test_a_server_that_was_killed_judges_again_when_it_is_started_again(serve: Serve) -> None:
    first = serve(LEASE_S="60")
    first.process.send_signal(signal.SIGKILL)
    first.process.wait(120)
    again = serve(LEASE_S="60")
    assert "judging=True" in again.story
    with again.client() as client:
        assert client.post("/evaluate", json=evaluate()).status_code == 200


def test_results_for_submitters_need_tokens_also_on_loopback(home: Path) -> None:
    ran = evald(home, "serve", "--port", "0", "--set", "results_for=submitter")
    assert ran.returncode == 2
    assert f"evald --home {home} token NAME" in ran.stderr


def test_a_list_tells_a_stranger_nothing_not_even_that_there_is_more(serve: Serve, home: Path) -> None:
    mine, theirs = (evald(home, "token", name).stdout.strip() for name in ("mine", "theirs"))
    server = serve(RESULTS_FOR="submitter")
    with server.client(mine) as me, server.client(theirs) as them:
        for _ in range(3):
            me.post("/evaluate", json=evaluate("secret"))
        assert me.get("/jobs", params={"limit": 1}).json()["cursor"]
        assert them.get("/jobs", params={"limit": 1, "name": "secret"}).json() == {"jobs": [], "cursor": None}


def test_tokens_made_and_revoked_at_once_are_all_kept_and_all_gone(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    Tokens(path).add("old", Role.ADMIN)
    with ThreadPoolExecutor(8) as pool:
        made = [pool.submit(Tokens(path).add, f"n{number}", Role.SUBMIT) for number in range(16)]
        pool.submit(Tokens(path).revoke, "old").result()
        secrets = [one.result() for one in made]
    assert [caller.name for caller in Tokens(path).callers()] == sorted(f"n{number}" for number in range(16))
    assert all(Tokens(path).caller(secret) for secret in secrets)


def test_health_answers_while_every_worker_waits_for_a_lock(serve: Serve, home: Path) -> None:
    server = serve("--judge", "never")
    key = {"Idempotency-Key": "stuck"}
    with server.client() as client:
        job_id = client.post("/jobs", json=evaluate(), headers=key).json()["job_id"]
        with (home / "state" / "http-keys" / job_id).open("rb") as held, ThreadPoolExecutor(20) as pool:
            fcntl.flock(held, fcntl.LOCK_EX)
            for _ in range(3):  # a busy machine may be as slow as that by itself, and will not be all the time
                stuck = [pool.submit(client.post, "/jobs", json=evaluate(), headers=key) for _ in range(20)]
                is_answered = all(is_healthy_soon(server) for _ in range(5))
                assert {one.result().status_code for one in stuck} == {503}
                if is_answered:
                    break
        assert is_answered
        assert client.post("/jobs", json=evaluate(), headers=key).json()["repeated"] is True


def is_healthy_soon(server: Server) -> bool:
    """It answers before the locks of `Keys` are given up."""
    try:
        return httpx.get(f"{server.url}/health", timeout=4).status_code in (200, 503)
    except httpx.TimeoutException:
        return False


def test_a_client_that_goes_away_waits_no_more(serve: Serve) -> None:
    server = serve(HTTP_STREAMS="1", is_held=True)
    url = httpx.URL(server.url)
    body = b'{"kernel": {"kernel_type": "torch", "source_code": "class Model(nn.Module): pass"}}'
    head = b"POST /evaluate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
    with server.client() as client:
        for _ in range(2):
            with socket.create_connection((url.host, url.port), timeout=120) as gone:
                gone.sendall(head + body)
                wait_for(lambda: "evald_http_waiting 1" in client.get("/metrics").text, "it to wait")
            wait_for(lambda: "evald_http_waiting 0" in client.get("/metrics").text, "its place to be free")
        with socket.create_connection((url.host, url.port), timeout=120) as gone:
            gone.sendall(b"POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        wait_for(
            lambda: 'code="400",method="POST",route="/jobs"' in client.get("/metrics").text, "the half body to end"
        )
    assert "fault" not in server.story


def test_a_connection_that_asks_for_nothing_is_ended(serve: Serve) -> None:
    server = serve("--judge", "never")
    url = httpx.URL(server.url)
    with socket.create_connection((url.host, url.port), timeout=300) as silent:
        assert silent.recv(1) == b""


def test_keys_survive_their_folder_and_tell_no_tales_of_jobs_that_never_were(serve: Serve, home: Path) -> None:
    server = serve("--judge", "never", HTTP_JOBS_PER_TOKEN="1")
    with server.client() as client:
        assert client.post("/jobs", json=evaluate("first")).status_code == 202
        wait_for(lambda: client.post("/jobs", json=evaluate()).status_code == 429, "the quota to be full")
        key = {"Idempotency-Key": "k"}
        assert client.post("/jobs", json=evaluate("refused"), headers=key).status_code == 429
        for entry in (home / "inbox").glob("*@*"):
            entry.unlink()
        assert client.post("/jobs", json=evaluate("corrected"), headers=key).status_code in (202, 429)
        for path in (home / "state" / "http-keys").iterdir():
            path.unlink()
        (home / "state" / "http-keys").rmdir()
        wait_for(
            lambda: client.post("/jobs", json=evaluate("corrected"), headers=key).status_code == 202, "room for a job"
        )


def test_a_request_that_was_refused_leaves_no_key_and_no_others_are_touched(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    with keys.held("taken", "a" * 64):
        pass
    for job_id in ("taken", "fresh"):
        with pytest.raises(OperatorError), keys.held(job_id, "a" * 64):
            raise OperatorError("no room")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["taken"]
    assert (tmp_path / "keys" / "taken").read_text("ascii") == "a" * 64


def test_a_torn_key_file_binds_nobody_and_old_keys_are_forgotten(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys")
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "torn").write_bytes(b"\0" * 64)
    with keys.held("torn", "a" * 64):
        pass
    assert (tmp_path / "keys" / "torn").read_text("ascii") == "a" * 64
    with keys.held("torn", "a" * 64):
        pass
    os.utime(tmp_path / "keys" / "torn", (0, 0))
    assert keys.forget() == 1
    assert list((tmp_path / "keys").iterdir()) == []


def test_times_at_the_edge_of_the_calendar_are_the_callers_mistake(serve: Serve) -> None:
    edges = ("0001-01-01T00:00+23:59", "9999-12-31T23:59-23:59", "999999w")
    for edge in edges:
        with pytest.raises(OperatorError, match=r"neither a duration nor a date|is too long"):
            durations.parse_since(edge, "since")
    with serve("--judge", "never").client() as client:
        for edge in edges:
            assert client.get("/jobs", params={"since": edge}).status_code == 422
            assert client.post("/admin/cleanup-jobs", json={"older_than": edge}).status_code == 422


def test_a_row_this_version_cannot_read_does_not_freeze_health(serve: Serve, home: Path) -> None:
    """Of a daemon that says nothing more: a living one would soon write its row again."""
    server = serve("--judge", "never")
    database = Database(Settings(home=home).database_url)
    DaemonRepository(database).report(DaemonNote("far-0-1", "far", 1, "1.0", 1, "/inbox", 600.0))
    with server.client() as client:
        wait_for(lambda: client.get("/health").status_code == 200, "the server to be healthy")
        with database.write() as connection:
            connection.execute(text("UPDATE daemon SET devices = '[{\"index\": 0}]', state = 'stopped'"))
        wait_for(lambda: client.get("/health").status_code == 503, "the change to be seen")
    database.close()


def test_a_daemon_whose_inbox_is_gone_is_not_called_healthy(serve: Serve, home: Path) -> None:
    server = serve("--judge", "never")
    database = Database(Settings(home=home).database_url)
    host, inbox = Owner.current().host, home / "inbox"
    DaemonRepository(database).report(DaemonNote(f"{host}-0-1", host, 1, "1.0", 1, str(inbox), 600.0))
    with server.client() as client:
        wait_for(lambda: client.get("/health").status_code == 200, "the server to be healthy")
        inbox.rename(home / "moved")
        wait_for(lambda: client.get("/health").status_code == 503, "the change to be seen")
        assert "evald health" in client.get("/health").json()["reason"]
        (home / "moved").rename(inbox)
    database.close()


def test_a_strange_folder_in_the_outbox_stops_nobody(serve: Serve, home: Path) -> None:
    strange = home / "results" / ".outbox" / "abc.²"
    strange.mkdir(parents=True)
    (strange / "result.json").write_text("{}", "utf-8")
    with serve().client() as client:
        assert client.post("/evaluate", json=evaluate()).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "word"),
    [
        ("POST", "/admin/cleanup-jobs?dry_run=true", "query.dry_run: there is no such parameter here"),
        ("GET", "/stats?windw=1h", "query.windw: there is no such parameter; there are window"),
        ("GET", "/metrics?x=1", "query.x"),
        ("GET", "/jobs?limit=x", "query.limit: must be a whole number"),
        ("GET", "/jobs?limit=501", "query.limit: must be at most 500"),
        ("GET", "/jobs?name=", "query.name: must not be empty"),
        ("GET", "/jobs?state=waiting", "query.state: must be 'queued', 'claimed', 'running', "),
    ],
)
def test_a_parameter_that_is_wrong_or_at_the_wrong_place_is_told(
    rehearsing: Server, method: str, path: str, word: str
) -> None:
    with rehearsing.client() as client:
        refused = client.request(method, path, json={"older_than": "0s"} if method == "POST" else None)
    assert refused.status_code == 422
    assert word in refused.json()["error"]
    assert "GET /docs" in refused.json()["hint"]


def test_cleanup_takes_what_a_kill_left_of_an_ended_job_so_that_it_is_not_judged_again(
    serve: Serve, home: Path
) -> None:
    first = serve(TEST_FAILPOINTS="result.published=1")
    with pytest.raises(httpx.TransportError), first.client() as client:
        client.post("/evaluate", json=evaluate("once"))
    first.process.wait(120)
    assert len(list((home / "work").iterdir())) == 1
    with serve("--judge", "never").client() as client:
        order = {"older_than": "0s", "keep_best": 0}
        assert client.post("/admin/cleanup-jobs", json=order).json()["removed"] == 1
    assert list((home / "work").iterdir()) == list((home / "results" / ".outbox").iterdir()) == []


@pytest.mark.parametrize("url", ["localhost:8720", "ftp://x", "", "http://"])
def test_an_address_that_is_none_is_told_at_once(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALD_URL", url or "nonsense")
    with pytest.raises(ClientError, match="no address"):
        Client(url)


def test_a_token_that_cannot_be_sent_is_not_repeated_in_the_message() -> None:
    for token in ("evald_sécret", "evald_se\ncret"):
        with pytest.raises(ClientError) as caught:
            Client("http://127.0.0.1:1", token)
        assert "cret" not in str(caught.value)
    with Client("http://127.0.0.1:1", " evald_fine \n", patience_s=0.1) as client:
        with pytest.raises(ClientError, match="no JSON"):
            client.submit({"kernel": float("nan")})
        with pytest.raises(ClientError, match="key"):
            client.submit({}, key="a b")


def test_what_is_no_evald_is_said_to_be_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as page:
        port = page.getsockname()[1]

        def answer() -> None:
            for _ in range(2):
                connection, _ = page.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>")

        thread = threading.Thread(target=answer)
        thread.start()
        with Client(f"http://127.0.0.1:{port}", patience_s=1) as client:
            for ask in (client.jobs, client.health):
                with pytest.raises(ClientError, match="no answer of evald"):
                    ask()
        thread.join()


def test_a_key_in_use_or_gone_is_left_alone_when_old_ones_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = Keys(tmp_path / "keys")
    for name in ("used", "gone", "old"):
        with keys.held(name, "a" * 64):
            pass
        os.utime(tmp_path / "keys" / name, (0, 0))
    listed = list((tmp_path / "keys").iterdir())
    (tmp_path / "keys" / "gone").unlink()
    monkeypatch.setattr(Path, "iterdir", lambda _: iter(listed))
    with (tmp_path / "keys" / "used").open("rb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        assert keys.forget() == 1
    assert (tmp_path / "keys" / "used").exists()
    assert not (tmp_path / "keys" / "old").exists()


def test_a_server_ends_when_it_meets_a_damaged_page(serve: Serve, home: Path) -> None:
    """It writes as well: who is cancelled, what is cleaned up, which hosts are drained."""
    server = serve("--judge", "never")
    damage(home / "state" / "evald.sqlite3", "ix_job_problem")
    with server.client() as client:
        assert client.get("/jobs", params={"problem": "p"}).status_code == 503
    assert server.process.wait(300) == 2
    assert "restore a backup" in server.story


def test_a_server_does_not_start_and_is_not_to_be_tried_again_where_the_database_is_damaged(
    serve: Serve, home: Path
) -> None:
    """Its first question is which daemons there are."""
    assert serve("--judge", "never").stop() == 0
    damage(home / "state" / "evald.sqlite3", "ix_daemon_host")
    ran = evald(home, "serve", "--port", "0")
    assert (ran.returncode, "restore a backup" in ran.stderr) == (2, True)


def test_a_server_goes_on_when_its_disk_failed_to_read_the_database_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "_LOOK_EVERY_S", 0.01)
    database = Database(f"sqlite:///{tmp_path / 'evald.sqlite3'}", must_be_sound=True)
    database.damage = StorageDamaged("database disk image is malformed")
    with pytest.raises(StorageUnavailable), database.write():
        pass

    async def until_looked_through() -> None:
        looking = asyncio.create_task(serving._looked_through(database, lambda: pytest.fail("the server ends")))
        async with asyncio.timeout(300):
            while database.damage is not None:
                await asyncio.sleep(0.01)
        looking.cancel()

    asyncio.run(until_looked_through())
    with database.write():
        pass
    database.close()


def test_a_sweep_of_which_the_database_cancels_a_part_and_goes_away_is_answered_with_that_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks again gets the rest, or learns why not."""
    settings = Settings(home=tmp_path / "home")
    settings.paths.create()
    migrate.ensure_ready(settings.database_url)
    database = Database(settings.database_url)
    body = json.dumps(evaluate() | {"labels": {"sweep": "1"}}).encode()
    dropped = [submit_document(body, name, settings.paths.inbox).job_id for name in ("a", "b")]
    desk, cancel_many, ended = make_app(settings, database).state.desk, Publisher.cancel_many, list[str]()

    def once(its: Publisher, *given: object) -> list[Finished]:
        if ended:
            raise StorageUnavailable("the database is away")
        found = cancel_many(its, *given)  # type: ignore[arg-type]
        ended.extend(one.job_id for one in found)
        return found

    monkeypatch.setattr(labelled, "_AT_ONCE", 1)
    monkeypatch.setattr(Publisher, "cancel_many", once)
    sweep, admin = routes_jobs.Sweep(label="sweep=1"), Caller("model", Role.ADMIN)
    answer = routes_jobs._cancel_labelled(desk, sweep, admin, None)
    assert ([one.job_id for one in answer.cancelled], answer.more) == (ended, True)
    assert ended == dropped[:1]
    with pytest.raises(StorageUnavailable):
        routes_jobs._cancel_labelled(desk, sweep, admin, None)
    ended.clear()
    answer = routes_jobs._cancel_labelled(desk, sweep, admin, None)
    assert ([one.job_id for one in answer.cancelled], answer.more) == (dropped[1:], False)
    database.close()

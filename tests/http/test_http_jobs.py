"""Jobs over HTTP: taken at once, once per key, listed, followed, cancelled; and what happens when the server stops."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from http_bodies import compare, evaluate
from http_servers import Serve, evald, events
from waiting import wait_for

from daemon import fsio
from daemon.callers import TAG_DIGITS
from daemon.http.submission import Keys
from daemon.http.tokens import LOCAL, Role, Tokens


def test_a_job_is_taken_at_once_and_its_result_is_where_the_answer_says(serve: Serve) -> None:
    server = serve(is_held=True)
    with server.client() as client:
        taken = client.post("/jobs", json=evaluate("quick"))
        assert taken.status_code == 202
        job = taken.json()
        assert client.get(job["status_url"]).json()["status"] in ("pending", "running")
        server.let_go("quick")
        told = events(client, job["job_id"])
        assert [kind for kind, _ in told][-1] == "result"
        assert {kind for kind, _ in told} <= {"progress", "result"}
        assert told[-1][1] == client.get(job["result_url"]).json()
        again = events(client, job["job_id"])
        assert again == [("result", told[-1][1])]
        answer = client.get(job["status_url"]).json()
        assert (answer["status"], answer["state"], answer["name"]) == ("completed", "finished", "quick")


def test_a_result_that_is_not_there_yet_says_where_to_wait_for_it(serve: Serve) -> None:
    with serve(is_held=True).client() as client:
        job_id = client.post("/jobs", json=evaluate()).json()["job_id"]
        answer = client.get(f"/jobs/{job_id}/result")
        assert answer.status_code == 404
        assert f"/jobs/{job_id}/events" in answer.json()["hint"]
        for place in ("", "/result", "/events"):
            unknown = client.get(f"/jobs/{'0' * 32}{place}")
            assert unknown.status_code == 404
            assert "no job" in unknown.json()["error"]
        for path in ("/job/xyz", "/jobs/xyz/events"):
            astray = client.get(path)
            error = "path.job_id: a job id is 32 of the digits 0-9a-f"
            assert (astray.status_code, astray.json()["error"], len(astray.json()["problems"])) == (422, error, 1)


def test_a_request_that_waits_too_long_gets_408_and_its_job_goes_on(serve: Serve) -> None:
    server = serve(is_held=True, HTTP_WAIT_MARGIN_S="0.1")
    with server.client() as client:
        answer = client.post("/evaluate", json=evaluate("slow", timeout=5))
        assert answer.status_code == 408
        job_id = answer.json()["job_id"]
        assert f"/jobs/{job_id}/result" in answer.json()["hint"]
        server.let_go("slow")
        wait_for(lambda: client.get(f"/jobs/{job_id}/result").status_code == 200, "the job to go on")


def test_a_key_makes_one_job_however_often_and_at_once_it_is_sent(serve: Serve, home: Path) -> None:
    server = serve(REHEARSAL_S="0.3")
    key = {"Idempotency-Key": str(uuid.uuid4())}
    with server.client() as client:

        def send(_number: int) -> dict[str, Any]:
            return client.post("/jobs", json=evaluate("keyed"), headers=key).json()

        with ThreadPoolExecutor(16) as pool:
            taken = list(pool.map(send, range(32)))
        assert len({job["job_id"] for job in taken}) == 1
        assert [job["repeated"] for job in taken].count(False) == 1
        job_id = taken[0]["job_id"]
        waited = client.post("/evaluate", json=evaluate("keyed"), headers=key)
        assert waited.json()["job_id"] == job_id
        wait_for(lambda: not list((home / "work").iterdir()), "the bundle to be put away")
        assert client.post("/jobs", json=evaluate("keyed"), headers=key).json()["repeated"] is True
        other = client.post("/jobs", json=evaluate("another"), headers=key)
        assert other.status_code == 422
        assert other.json()["job_id"] == job_id
        assert len(client.get("/jobs").json()["jobs"]) == 1
    assert len(server.results()) == 1


def test_a_key_of_one_server_is_known_to_another_on_the_same_inbox(serve: Serve) -> None:
    first, second = serve("--judge", "never"), serve("--judge", "never")
    key = {"Idempotency-Key": "once"}
    answers = [
        httpx.post(f"{server.url}/jobs", json=evaluate(), headers=key, timeout=120) for server in (first, second, first)
    ]
    assert [answer.json()["repeated"] for answer in answers] == [False, True, True]
    assert len({answer.json()["job_id"] for answer in answers}) == 1


def test_nobody_who_drops_bundles_can_take_the_id_that_a_key_will_name(serve: Serve, home: Path) -> None:
    """The caller would be told that its job was there before, and get the other bundle's result."""
    server = serve("--judge", "never")
    with server.client() as client:
        tag = client.post("/jobs", json=evaluate()).json()["job_id"][-TAG_DIGITS:]  # everybody sees it in the inbox
        guessed = hashlib.sha256(b"local\0nightly-17").hexdigest()[: 32 - TAG_DIGITS] + tag
        (home / "inbox" / f"mine.json@{guessed}").write_text(json.dumps(evaluate("mine")))
        taken = client.post("/jobs", json=evaluate(), headers={"Idempotency-Key": "nightly-17"}).json()
    assert taken["job_id"] != guessed
    assert taken["repeated"] is False


def judged_and_cleaned_up(client: httpx.Client, home: Path, headers: dict[str, str]) -> str:
    """The id of a job that is forgotten again."""
    job = client.post("/evaluate", json=evaluate(), headers=headers).json()
    wait_for(lambda: not list((home / "work").iterdir()), "the bundle to be put away")
    assert client.post("/admin/cleanup-jobs", json={"older_than": "0s"}).json()["removed"] == 1
    return str(job["job_id"])


def test_a_job_that_others_made_under_the_id_of_a_cleaned_up_one_is_not_given_for_it(serve: Serve, home: Path) -> None:
    server = serve()
    key = {"Idempotency-Key": "every-night"}
    with server.client() as client:
        job_id = judged_and_cleaned_up(client, home, key)
        (home / "inbox" / f"mine.json@{job_id}").write_text(json.dumps(evaluate("mine")))
        wait_for(lambda: client.get(f"/jobs/{job_id}/result").status_code == 200, "the other to be judged")
        answer = client.post("/jobs", json=evaluate(), headers=key)
    assert (answer.status_code, answer.json()["job_id"]) == (422, job_id)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_is_not_promised_what_others_have_dropped_under_the_id_of_a_cleaned_up_job(
    serve: Serve, home: Path
) -> None:
    server = serve()
    key = {"Idempotency-Key": "every-night"}
    with server.client() as client:
        job_id = judged_and_cleaned_up(client, home, key)
        folder = home / "inbox" / f"mine@{job_id}"
        folder.mkdir()  # never whole, so never a job
        os.chown(folder, 4321, 4321)
        answer = client.post("/jobs", json=evaluate(), headers=key)
        assert (answer.status_code, answer.json()["job_id"]) == (422, job_id)
        os.chown(folder, os.geteuid(), os.getegid())
        assert client.post("/jobs", json=evaluate(), headers=key).json()["repeated"] is True


def test_what_a_key_names_follows_from_the_token_on_every_host(tmp_path: Path) -> None:
    here, there = (Keys(tmp_path / host / "http-keys") for host in ("here", "there"))
    for host in ("here", "there"):
        (tmp_path / host).mkdir()
    tokens = Tokens(tmp_path / "tokens")
    caller = tokens.caller(tokens.add("ci", Role.SUBMIT))
    tokens.revoke("ci")
    later = tokens.caller(tokens.add("ci", Role.SUBMIT))
    assert caller is not None
    assert later is not None
    assert here.named(caller, "once") == there.named(caller, "once")
    assert len({here.named(one, key) for one in (caller, later) for key in ("once", "again")}) == 4
    assert here.named(LOCAL, "once") == Keys(tmp_path / "here" / "http-keys").named(LOCAL, "once")
    assert here.named(LOCAL, "once") != there.named(LOCAL, "once")
    assert caller.secret not in repr(caller)


def test_what_keys_without_tokens_follow_from_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another secret a key that is sent again would be another job."""
    flushed = list[Path]()
    monkeypatch.setattr(fsio, "fsync_dir", flushed.append)
    keys = Keys(tmp_path / "http-keys")
    assert keys.named(LOCAL, "once") == keys.named(LOCAL, "once")
    assert flushed == [tmp_path]


def test_a_job_that_waits_has_its_files_name_and_is_not_listed(serve: Serve) -> None:
    with serve("--judge", "never").client() as client:
        taken = client.post("/jobs", json=evaluate("relu")).json()
        told = client.get(taken["status_url"]).json()
        assert (taken["name"], told["name"], told["state"]) == ("relu", "relu.json", "waiting")
        assert client.get("/jobs").json()["jobs"] == []
        assert client.get("/jobs", params={"state": "waiting"}).status_code == 422


def test_a_body_without_a_name_is_called_after_its_job(serve: Serve) -> None:
    with serve().client() as client:
        body = {key: value for key, value in evaluate().items() if key != "name"}
        for headers in ({}, {"Idempotency-Key": "once"}):
            taken = [client.post("/jobs", json=body, headers=headers).json() for _ in range(2)]
            assert client.post("/evaluate", json=body, headers={"Idempotency-Key": "once"}).status_code == 200
            for job in taken:
                wait_for(lambda: client.get(job["result_url"]).status_code == 200, "the result")  # noqa: B023
                assert client.get(job["status_url"]).json()["name"] == job["name"] == f"http-{job['job_id'][:16]}.json"
            assert len({job["name"] for job in taken}) == (1 if headers else 2)


def test_jobs_are_listed_by_label_state_and_page(serve: Serve) -> None:
    server = serve()
    with server.client() as client:
        for number in range(5):
            labels = {"team": "a" if number < 3 else "b"}
            body = evaluate(f"job{number}", problem="p", labels=labels)
            assert client.post("/evaluate", json=body).status_code == 200
        names = [job["name"] for job in client.get("/jobs", params={"label": "team=a"}).json()["jobs"]]
        assert names == ["job2", "job1", "job0"]
        page = client.get("/jobs", params={"limit": 2}).json()
        rest = client.get(f"/jobs?limit=500&cursor={page['cursor']}").json()  # as it is, pasted into a URL
        assert [job["name"] for job in page["jobs"] + rest["jobs"]] == [f"job{number}" for number in (4, 3, 2, 1, 0)]
        assert rest["cursor"] is None
        last = page["jobs"][-1]
        plain = {"limit": 500, "cursor": f"{last['created_at'].replace('Z', '+00:00')}/{last['job_id']}"}
        assert client.get("/jobs", params=plain).json() == rest, "the form of a cursor in earlier versions"
        for wanted in ({"state": "queued"}, {"verdict": "passed"}, {"name": "other"}, {"problem": "q"}):
            assert client.get("/jobs", params=wanted).json()["jobs"] == []
        assert len(client.get("/jobs", params={"since": "1h", "problem": "p"}).json()["jobs"]) == 5
        zone = "2026-01-31T12:00:00+01:00"  # + as curl leaves it is a space to whoever reads a query
        assert len(client.get(f"/jobs?since={zone}&problem=p").json()["jobs"]) == 5
        assert len(client.get("/jobs?since=2026-01-31 12:00&problem=p").json()["jobs"]) == 5
        for wrong in (
            {"label": "team"},
            {"since": "soon"},
            {"cursor": "x"},
            {"cursor": "\N{SNOWMAN}"},
            {"cursor": "_w"},
            {"limit": 0},
            {"sate": "queued"},
        ):
            answer = client.get("/jobs", params=wrong)
            assert (answer.status_code, bool(answer.json()["error"])) == (422, True), wrong
            assert [problem["field"] for problem in answer.json()["problems"]] == [f"query.{next(iter(wrong))}"]
        for window in ("soon", "1y", "900d", "0s"):
            answer = client.get("/stats", params={"window": window})
            assert (answer.status_code, answer.json()["hint"]) == (422, "write 15m, 24h or 7d: at most 31d"), window
            assert [problem["field"] for problem in answer.json()["problems"]] == ["query.window"]
        answer = client.post("/admin/cleanup-jobs", json={"older_than": "soon"})
        assert [problem["field"] for problem in answer.json()["problems"]] == ["older_than"]


def test_a_job_is_cancelled_waiting_or_running_and_only_once(serve: Serve) -> None:
    with serve(is_held=True).client() as client:
        running = client.post("/jobs", json=evaluate("running")).json()["job_id"]
        wait_for(lambda: client.get(f"/jobs/{running}").json()["status"] == "running", "the job to run")
        waiting = client.post("/jobs", json=evaluate("waiting")).json()["job_id"]
        for job_id in (waiting, running):
            assert client.delete(f"/jobs/{job_id}").json() == {"job_id": job_id, "cancelled": True}
            told = client.get(f"/jobs/{job_id}/result").json()
            assert (told["verdict"], told["message"]) == ("rejected", "cancelled by local (HTTP)")
            late = client.delete(f"/jobs/{job_id}")
            assert late.status_code == 409
            assert f"/jobs/{job_id}/result" in late.json()["hint"]
        assert client.delete(f"/jobs/{'0' * 32}").status_code == 404


def test_who_waits_when_the_server_stops_learns_where_the_result_will_be_and_the_job_is_kept(
    serve: Serve, home: Path
) -> None:
    server = serve(is_held=True)
    answers: list[httpx.Response] = []
    streamed: list[tuple[str, Any]] = []
    with server.client() as client:
        followed = client.post("/jobs", json=evaluate("followed")).json()["job_id"]

        def wait() -> None:
            answers.append(client.post("/evaluate", json=evaluate("kept")))

        def follow() -> None:
            streamed.extend(events(client, followed))

        threads = [threading.Thread(target=wait), threading.Thread(target=follow)]
        for thread in threads:
            thread.start()
        wait_for(lambda: "evald_http_waiting 2" in client.get("/metrics").text, "both to wait")
        assert server.stop() == 0
        for thread in threads:
            thread.join(120)
    assert [answer.status_code for answer in answers] == [503]
    assert answers[0].headers["retry-after"]
    job_id = answers[0].json()["job_id"]
    assert f"/jobs/{job_id}/result" in answers[0].json()["hint"]
    assert streamed[-1] == ("stopping", {"job_id": followed})
    again = serve()
    with again.client() as client:
        for kept in (job_id, followed):
            wait_for(lambda: client.get(f"/jobs/{kept}/result").status_code == 200, f"{kept} to be judged")  # noqa: B023
    wait_for(lambda: len(again.results()) == 2, "their results, which follow the database")


def test_a_server_beside_a_daemon_judges_nothing_itself(serve: Serve, home: Path) -> None:
    judging = serve()
    beside = serve()
    assert "judging=True" in judging.story
    assert "judging=False" in beside.story
    with beside.client() as client:
        assert client.post("/compare", json=compare()).status_code == 200
        wait_for(lambda: client.get("/health").json()["daemons"] == 1, "the daemon to be seen")
        assert judging.stop() == 0
        wait_for(lambda: client.get("/health").status_code == 503, "the daemon to be missed")
        assert "evald run" in client.get("/health").json()["reason"]
        taken = client.post("/jobs", json=evaluate("waits"))
        assert taken.status_code == 202
        job_id = taken.json()["job_id"]
        assert client.get(f"/jobs/{job_id}").json()["state"] == "waiting"
        assert evald(home, "sweep", "--set", "engine=rehearsal").returncode in (0, 1, 2)
        assert client.get(f"/jobs/{job_id}/result").status_code == 200


def test_a_drained_host_takes_nothing_new_and_answers_questions(serve: Serve, home: Path) -> None:
    server = serve(LEASE_S="12")
    with server.client() as client:
        done = client.post("/evaluate", json=evaluate()).json()["job_id"]
        host = client.get("/stats").json()["gpu_utilization"][0]["host"]
        assert evald(home, "drain", host).returncode == 0
        wait_for(lambda: client.get("/health").json()["status"] == "draining", "the drain to be seen")
        for path in ("/evaluate", "/jobs"):
            refused = client.post(path, json=evaluate())
            assert refused.status_code == 503
            assert int(refused.headers["retry-after"]) > 0
            assert "drain" in refused.json()["error"]
        assert client.get(f"/jobs/{done}").status_code == 200
        assert evald(home, "drain", "--undo", host).returncode == 0
        wait_for(lambda: client.get("/health").status_code == 200, "the drain to be over")
        assert client.post("/evaluate", json=evaluate()).status_code == 200


@pytest.mark.parametrize("path", ["/evaluate", "/jobs"])
def test_everything_wrong_with_a_body_is_listed_with_what_was_meant(serve: Serve, path: str) -> None:
    server = serve("--judge", "never")
    with server.client() as client:
        kernel = {"kernel_typ": "torch", "source_code": "x"}
        answer = client.post(path, json={"kernel": kernel, "timeout": 10**6})
        assert answer.status_code == 400
        told = {problem["field"]: problem for problem in answer.json()["problems"]}
        assert told["kernel.kernel_typ"]["suggestion"] == "kernel_type"
        assert "timeout" in told
        for body in (b"", b"{", b"[]", b"null", b'{"kernel": 1e999}', b"\xff\xfe", b"[" * 100_000, b'{"a":' * 10_000):
            refused = client.post(path, content=body)
            assert refused.status_code == 400, (body[:20], refused.text)
            assert refused.json()["problems"]
    assert list((server.home / "inbox").glob("*.json*")) == []


def test_a_repeated_key_is_told_how_far_its_job_is(serve: Serve) -> None:
    with serve(REHEARSAL_S="0.1").client() as client:
        key = {"Idempotency-Key": "once"}
        first = client.post("/jobs", json=evaluate("once"), headers=key).json()
        assert first["status"] == "pending"
        events(client, first["job_id"])
        again = client.post("/jobs", json=evaluate("once"), headers=key).json()
        assert (again["job_id"], again["repeated"], again["status"]) == (first["job_id"], True, "completed")


def test_a_stream_tells_of_progress_long_before_the_next_heartbeat(serve: Serve) -> None:
    server = serve(is_held=True, LEASE_S="3600")
    with server.client() as client:
        job_id = client.post("/jobs", json=evaluate("held")).json()["job_id"]
        told = [
            data["progress"]
            for kind, data in events(client, job_id, lambda data: data.get("progress") and server.let_go("held"))
            if kind == "progress"
        ]
        assert any(told), told

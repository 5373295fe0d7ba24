"""A kernel that is POSTed is judged by the same engine as a bundle in the inbox, and gets the same document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from http_servers import Server
from service_bundles import RIGHT, WRONG, contract
from waiting import wait_for

from daemon.http.examples import EXAMPLES

QUICK = {"num_trials": 5, "timing": {"max_s": 0.2, "target_rse": 0.2}}


def small(example: str) -> dict[str, object]:
    """An example of the description, of smaller tensors, measured for a short time."""
    body = json.loads(json.dumps(EXAMPLES[example]).replace("1024, 1024", "64, 1024"))
    assert body != EXAMPLES[example]
    return body | QUICK


@pytest.fixture
def client(judging: Server) -> Iterator[httpx.Client]:
    with judging.client() as client:
        yield client


def published(server: Server, job_id: str) -> Path:
    """The result's file, which follows the database."""
    found: list[Path] = []
    wait_for(lambda: found.extend(file for file in server.results() if file.parent.name == job_id) or found, job_id)
    return found[0]


def test_evaluate_compare_and_the_legacy_body_answer_the_published_document(
    judging: Server, client: httpx.Client
) -> None:
    for path, body in (
        ("/evaluate", small("evaluate")),
        ("/compare", small("compare")),
        ("/", small("legacy")),
        ("/compare", small("legacy")),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 200, answer.text
        document = answer.json()
        assert document["verdict"] == "passed", document["message"]
        assert document["status"] == "success"
        assert document["kernel_exec_result"]["runtime"] > 0
        file = published(judging, document["job_id"])
        assert json.loads(file.read_text("utf-8")) == document
        assert client.get(f"/jobs/{document['job_id']}/result").json() == document
        assert client.get(f"/job/{document['job_id']}").json()["result"] == document


def test_a_wrong_kernel_is_an_answer_and_not_an_error(client: httpx.Client) -> None:
    answer = client.post("/compare", json=contract(WRONG, name="wrong"))
    assert answer.status_code == 200
    assert answer.json()["verdict"] == "wrong_answer"
    assert answer.json()["kernel_exec_result"]["correctness"] is False


def test_a_compare_for_evaluate_says_where_it_belongs(client: httpx.Client) -> None:
    answer = client.post("/evaluate", json=contract(RIGHT))
    assert answer.status_code == 400
    assert "POST /compare" in answer.json()["error"]
    legacy = client.post("/evaluate", json=small("legacy")).json()
    assert "POST /compare" in legacy["error"] and "ref_kernel" not in legacy["error"]


def test_the_figures_of_a_real_judge_are_in_the_stats(client: httpx.Client) -> None:
    assert client.post("/evaluate", json=small("evaluate")).json()["verdict"] == "passed"
    told = client.get("/stats", params={"window": "1h"}).json()
    assert set(told) >= {
        "job_stats", "compilation_metrics", "profiling_metrics", "gpu_utilization", "throughput",
    }  # fmt: skip
    assert told["job_stats"]["passed"] >= 1
    assert told["compilation_metrics"]["count"] >= 1
    assert told["compilation_metrics"]["mean_ms"] > 0
    assert told["profiling_metrics"]["evaluation"]["median_ms"] > 0
    assert told["gpu_utilization"][0]["slots"] == 1
    assert 0 < told["gpu_utilization"][0]["busy_share"] <= 1
    assert told["throughput"]["last_hour"] == told["job_stats"]["completed"]

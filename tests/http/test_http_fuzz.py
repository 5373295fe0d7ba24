"""Every route of the OpenAPI description, with inputs made from it and against it: never a 500, never another shape."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from http_servers import started
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable

if TYPE_CHECKING:  # every worker collects this, one runs it, and importing it takes a processor a second and a half
    import schemathesis

EXAMPLES = int(os.environ.get("EVALD_TEST_FUZZ", "12"))
CHANCE = "EVALD_TEST_FUZZ" in os.environ  # otherwise the same inputs every time


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[schemathesis.BaseSchema]:
    import schemathesis

    server = started(
        tmp_path_factory.mktemp("fuzz") / "home",
        REHEARSAL_S="0.001",
        SLOTS="4",
        HTTP_REQUESTS_PER_S="10000",
        HTTP_BURST="100000",
        LIMITS_TENSOR_BYTES="1000000",
    )
    yield schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    assert server.process.poll() is None
    server.process.kill()
    server.process.wait()
    assert "fault" not in server.story, server.story[-5000:]
    print(server.story.count("submitted"), "bodies were taken", file=sys.stderr)


OPERATIONS = (
    "POST /evaluate", "POST /compare", "POST /", "POST /jobs", "GET /jobs", "GET /jobs/{job_id}", "GET /job/{job_id}",
    "GET /jobs/{job_id}/result", "GET /jobs/{job_id}/events", "DELETE /jobs/{job_id}", "DELETE /jobs", "GET /health",
    "GET /stats", "GET /metrics", "POST /admin/cleanup-jobs",
)  # fmt: skip


@pytest.mark.parametrize("label", OPERATIONS)
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_no_input_makes_a_fault_or_an_answer_that_is_not_described(
    api: schemathesis.BaseSchema, label: str, mode: str
) -> None:
    from schemathesis import GenerationMode
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    method, _, path = label.partition(" ")
    cases = api[path][method].as_strategy(generation_mode=GenerationMode(mode))

    @settings(
        max_examples=EXAMPLES,
        derandomize=not CHANCE,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(case=cases)
    def one(case: schemathesis.Case) -> None:
        checks = [
            not_a_server_error,
            content_type_conformance,
            response_schema_conformance,
            status_code_conformance,
        ]
        case.call_and_validate(checks=checks, timeout=300)

    try:
        one()
    except Unsatisfiable:
        pytest.skip("this route has no input that could be wrong")


def test_the_description_is_one_that_generators_of_clients_take(api: schemathesis.BaseSchema) -> None:
    api.validate()


def test_every_route_is_tried(api: schemathesis.BaseSchema) -> None:
    assert {operation.ok().label for operation in api.get_all_operations()} == set(OPERATIONS)

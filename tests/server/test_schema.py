"""The service against its own OpenAPI: what it answers is documented, and never its own fault.

Requests are drawn by schemathesis, by the schema and against it; the same ones in every run but for
the long test.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import one_of
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from styleatlas.server.bodies import BODIES

from ..service import TOKEN, running

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
QUICK = settings(
    max_examples=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
LONG = settings(QUICK, max_examples=240, derandomize=False)  # of 24 operations


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """The schema of a service of its own, which is soon done with whatever it is asked for."""
    folder = tmp_path_factory.mktemp("drawn") / "kept"
    with running(folder, "--rate", 10_000, "--jobs", 6, "--deadline", "2s") as service:
        with service.client() as http:
            while http.get("/api/v1/ready").status_code != 200:
                time.sleep(0.1)
        yield schemathesis.openapi.from_url(f"{service.url}/openapi.json")


def references(part: Any) -> Iterator[str]:
    """All that a part of a schema refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        part = list(part.values())
    if isinstance(part, list):
        for inner in part:
            yield from references(inner)


def test_schema_refers_to_what_it_holds_and_names_every_operation_once(http):
    schema = http.get("/openapi.json").json()
    for reference in set(references(schema)):
        found = schema
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        assert found["type"] == "object"
    names = [op["operationId"] for path in schema["paths"].values() for op in path.values()]
    assert len(names) == len(set(names)) > 20
    assert "securitySchemes" not in schema["components"]


def test_schema_of_a_locked_service_says_how_to_come_in(locked):
    with locked.client(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
        schema = http.get("/openapi.json").json()
    assert schema["security"] == [{"token": []}, {"cookie": []}]
    assert set(schema["components"]["securitySchemes"]) == {"token", "cookie"}


def test_examples_are_sound_and_every_body_that_is_posted_has_one():
    for kind, body in BODIES.items():
        examples = body.model_json_schema().get("examples", [])
        assert examples or kind in ("crops", "texts")  # which nobody posts
        for example in examples:
            assert body.model_validate(example)


def check_all(api, how: settings) -> int:
    """Asks for every operation in every way that is drawn; how many there were."""
    cases = 0
    for found in api.get_all_operations():
        operation = found.ok()

        ways = [
            operation.as_strategy(generation_mode=mode)
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        ]
        ways += operation.get_strategies_from_examples()

        @how
        @given(case=one_of(ways))
        def check(case: schemathesis.Case) -> None:
            nonlocal cases
            cases += 1
            response = case.call(timeout=60)
            busy = response.status_code == 503  # says so, and is documented
            checks = [one for one in CHECKS if not (busy and one is not_a_server_error)]
            case.validate_response(response, checks=checks)

        check()
    return cases


def test_answers_are_as_documented(api):
    assert check_all(api, QUICK) > 200


@pytest.mark.long
def test_five_thousand_answers_are_as_documented(api):
    assert check_all(api, LONG) >= 5000

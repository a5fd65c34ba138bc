"""What OpenAPI says of the server is true, as schemathesis tries it."""

from __future__ import annotations

import hypothesis
import pytest
import schemathesis
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks

OPERATIONS = (
    *("POST /search", "POST /embed", "POST /classify", "POST /add", "POST /remove"),
    *("GET /images/{id}", "GET /metrics", "GET /health"),
)
TRUE = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.name)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_answer_is_one_that_the_description_names(live, index, authorised, operation, mode):
    method, path = operation.split()
    schema = schemathesis.openapi.from_url(live(index, authorised["Authorization"].split()[1]) + "openapi.json")
    answered: set[int] = set()

    @hypothesis.settings(
        max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
    )
    @hypothesis.given(case=schema[path][method].as_strategy(generation_mode=mode))
    def attempt(case):
        answer = case.call(headers=authorised)
        answered.add(answer.status_code)
        case.validate_response(answer, checks=[check for check in TRUE if answer.status_code != 503])

    try:
        attempt()
    except hypothesis.errors.Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE, "what takes no argument cannot be asked for wrongly"
    else:
        assert answered

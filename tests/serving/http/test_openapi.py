"""The OpenAPI document: valid, of the model that is loaded, and true of what is answered (S1)."""

import copy

import jsonschema
import pytest
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
TENSORS = {
    "inputs": [
        {"name": "numbers", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 0.25]},
        {"name": "categories", "datatype": "BYTES", "shape": [1, 1], "data": ["A"]},
    ]
}


def test_the_document_is_valid(host, make_host) -> None:
    """With models and without; a broken one is found."""
    document = host.client.get("/openapi.json").json()
    validate(document)
    validate(make_host().client.get("/openapi.json").json())
    broken = copy.deepcopy(document)
    del broken["paths"]["/predict"]["post"]["responses"]
    with pytest.raises(OpenAPIValidationError):
        validate(broken)


def test_it_names_every_route_of_the_protocol(host) -> None:
    """With the features in the order of their columns."""
    paths = host.client.get("/openapi.json").json()["paths"]
    assert {path for path in paths if path.startswith("/v2")} == {
        *("/v2", "/v2/health/live", "/v2/health/ready"),
        *(f"/v2/models/{{model}}{rest}" for rest in ("", "/ready", "/infer")),
        *(f"/v2/models/{{model}}/versions/{{version}}{rest}" for rest in ("", "/ready", "/infer")),
    }
    infer = paths["/v2/models/{model}/infer"]["post"]
    assert "`numbers`: width, height; `categories`: letter" in infer["description"]
    assert infer["parameters"][0]["schema"]["enum"] == ["toy"]


def test_it_shows_the_values_of_the_model(host) -> None:
    """Each feature has an example, and says which values are usual where others are only counted."""
    row = host.client.get("/openapi.json").json()["components"]["schemas"]["toyRow"]["properties"]
    assert row["width"]["example"] == 1.5
    assert row["width"]["description"] == "strict (cm)"
    assert "-5 to 5 is usual" in row["height"]["description"]
    assert "A, B are known" in row["letter"]["description"]


def test_each_refusal_says_what_it_means(host) -> None:
    """No two statuses of a route are described alike, and routes stand together by whom they are for."""
    paths = host.client.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method in methods.values():
            texts = [response["description"] for response in method["responses"].values()]
            assert len(set(texts)) == len(texts), path
            assert len(method["tags"]) == 1
    assert "`problems` names each field" in paths["/predict"]["post"]["responses"]["422"]["description"]
    assert set(paths["/readyz"]["get"]["responses"]) == {"200", "503"}


@pytest.mark.parametrize(
    ("path", "place", "body"),
    [
        ("/predict", "/predict", {"row": ROW}),
        ("/predict", "/predict", {"row": {}}),
        ("/predict_batch", "/predict_batch", {"rows": [ROW, ROW]}),
        ("/predict_batch", "/predict_batch", {"rows": []}),
        ("/v2/models/{model}/infer", "/v2/models/toy/infer", TENSORS),
        ("/v2/models/{model}/infer", "/v2/models/toy/infer", {"inputs": []}),
        ("/v2/models/{model}/infer", "/v2/models/toi/infer", TENSORS),
        ("/v2", "/v2", None),
        ("/v2/health/live", "/v2/health/live", None),
        ("/v2/health/ready", "/v2/health/ready", None),
        ("/v2/models/{model}", "/v2/models/toy", None),
        ("/v2/models/{model}/ready", "/v2/models/toy/ready", None),
        ("/v2/models/{model}/versions/{version}", "/v2/models/toy/versions/9", None),
        ("/models/{name}/contract", "/models/toi/contract", None),
    ],
)
def test_answers_are_as_described(host, path, place, body) -> None:
    """Good and bad ones match the schema of their status; another key would not."""
    document = host.client.get("/openapi.json").json()
    method = "get" if body is None else "post"
    answer = host.client.request(method.upper(), place, json=body)
    response = document["paths"][path][method]["responses"][str(answer.status_code)]
    schema = {**response["content"]["application/json"]["schema"], "components": document["components"]}
    found = answer.json()
    jsonschema.validate(found, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**found, "another": 1}, schema)


def test_examples_of_answers_are_as_described(host) -> None:
    """They are golden answers in the form of the route."""
    document = host.client.get("/openapi.json").json()
    checked = 0
    for methods in document["paths"].values():
        content = methods.get("post", {}).get("responses", {}).get("200", {}).get("content", {})
        for example in content.get("application/json", {}).get("examples", {}).values():
            jsonschema.validate(example["value"], content["application/json"]["schema"])
            checked += 1
    assert checked == 2

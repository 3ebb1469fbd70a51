"""What the service answers when it is asked well."""

from typing import Any

import msgspec
import numpy as np
import pytest

from contract.predictions import log_schema
from serving.http.answers import Answerer
from serving.http.bodies import BATCH_ROWS

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}


def test_a_prediction_names_its_class_its_scores_and_its_model(host) -> None:
    """The answer is complete enough to be traced, in the body and in the headers."""
    answer = host.client.post("/predict", {"row": ROW, "id": "UA1"})
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"prediction", "scores", "model", "version", "digest", "request_id"}
    assert max(body["scores"], key=body["scores"].get) == body["prediction"]
    assert sum(body["scores"].values()) == pytest.approx(1, abs=1e-6)
    assert answer.headers["X-Model"] == body["model"] == "toy"
    assert answer.headers["X-Model-Version"] == body["version"] == "1"
    assert answer.headers["X-Model-Digest"] == body["digest"] == host.wanted["toy"].digest
    assert answer.headers["X-Request-Id"] == body["request_id"]


def test_golden_rows_answer_over_http_as_in_training(host) -> None:
    """The whole way through JSON keeps every golden answer."""
    golden = host.versions.current.models["toy"].predictor.bundle.golden
    body = host.client.post("/predict_batch", {"rows": [item.row for item in golden.rows]}).json()
    assert body["predictions"] == [item.label for item in golden.rows]
    assert np.allclose(body["scores"], [item.scores for item in golden.rows], atol=golden.tolerance)
    assert body["classes"] == ["low", "middle", "high"]


def test_the_largest_batch_is_answered(host) -> None:
    """A thousand rows are a batch."""
    body = host.client.post("/predict_batch", {"rows": [ROW] * BATCH_ROWS}).json()
    assert len(body["predictions"]) == BATCH_ROWS


def test_a_request_may_bring_its_id(host) -> None:
    """A plain X-Request-Id is kept; one that could forge a log line is replaced."""
    kept = host.client.post("/predict", {"row": ROW}, **{"X-Request-Id": "abc-1"})
    replaced = host.client.post("/predict", {"row": ROW}, **{"X-Request-Id": "a b"})
    assert kept.json()["request_id"] == "abc-1"
    assert replaced.json()["request_id"] != "a b"


def test_a_defect_of_ours_is_answered_with_the_id_of_its_request(host, monkeypatch) -> None:
    """It is what a caller can name to whoever reads the log; internals are not told."""

    async def broken(*_: Any) -> Any:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(Answerer, "run", broken)
    answer = host.client.post("/predict", {"row": ROW}, **{"X-Request-Id": "abc-1"})
    assert (answer.status_code, answer.headers.get("X-Request-Id")) == (500, "abc-1")
    assert "secret" not in answer.text


def test_a_caller_may_name_the_model(host, make_bundle) -> None:
    """`?model=` chooses; without it the default of the desired state answers."""
    host.serve(make_bundle(model="other", seed=5), version="9")
    assert host.client.post("/predict?model=other", {"row": ROW}).json()["version"] == "9"
    assert host.client.post("/predict", {"row": ROW}).json()["model"] == "toy"


def test_a_claimed_route_takes_values_in_order(make_host, make_bundle) -> None:
    """A contract's own route answers with the class alone, as `/predict` does for the same row."""
    toy = make_bundle().contract
    claiming = msgspec.structs.replace(toy, model="plain", features=toy.numbers, routes=("/predict/label",))
    host = make_host()
    host.serve(make_bundle(contract=claiming))
    answer = host.client.post("/predict/label", {"data": [[1.5, 0.25]]})
    same = host.client.post("/predict", {"row": {"width": 1.5, "height": 0.25}}).json()
    assert answer.json() == {"prediction": same["prediction"]}
    assert answer.headers["X-Model-Digest"] == same["digest"]


def test_nothing_claims_a_route_by_itself(host) -> None:
    """`/predict/label` exists only where a loaded contract claims it."""
    answer = host.client.post("/predict/label", {"data": [[1, 2]]})
    assert answer.status_code == 404
    assert "/predict" in answer.json()["error"]


def test_a_moment_is_accepted_where_the_clock_is_the_requests(make_host, make_bundle) -> None:
    """Replays say when; the log keeps event time and arrival apart."""
    host = make_host(clock="request")
    host.serve(make_bundle())
    answer = host.client.post("/predict", {"row": ROW, "at": "2013-04-01T10:00:00-04:00"})
    assert answer.status_code == 200
    assert host.client.get("/status").json()["clock"] == "request"


def test_models_says_what_is_loaded(host) -> None:
    """Version, digest, fingerprint, as_of, skew and the moment of loading, by model."""
    body = host.client.get("/models").json()
    model = body["models"]["toy"]
    assert body["default"] == "toy"
    assert model["digest"] == host.wanted["toy"].digest
    assert model["as_of"].startswith("2013-04-01")
    assert model["skew"] == {}
    known = {"version", "digest", "contract", "as_of", "skew", "loaded_at", "routes"}
    assert set(model) == known | {"versions", "split", "mirror"}
    assert model["versions"] == {"1": model["digest"]}
    assert (model["split"], model["mirror"]) == ({"1": 100}, {})


def test_the_contract_can_be_fetched(host) -> None:
    """A caller can learn the features without the repository."""
    features = host.client.get("/models/toy/contract").json()["features"]
    assert [feature["name"] for feature in features] == ["width", "height", "letter"]


def test_status_says_why_a_service_is_not_ready(make_host, make_bundle) -> None:
    """The sentence of a refusal stands where an operator looks."""
    host = make_host()
    assert host.client.get("/status").json()["reason"] == "there is no desired.json yet"
    release = make_bundle()
    (release.bundle / "model.onnx").write_bytes(b"")
    host.serve(release)
    status = host.client.get("/status").json()
    assert status["ready"] is False
    assert "changed model.onnx" in status["refused"]["toy@1"]
    assert host.client.post("/predict", {"row": ROW}).status_code == 503


def test_every_example_of_the_document_works(make_host, make_bundle) -> None:
    """An example in /openapi.json may be sent as it stands."""
    toy = make_bundle().contract
    claiming = msgspec.structs.replace(toy, model="iris", features=toy.numbers, routes=("/predict/label",))
    host = make_host()
    host.serve(make_bundle(contract=claiming))
    host.serve(make_bundle())
    document = host.client.get("/openapi.json").json()
    sent = 0
    for path, methods in document["paths"].items():
        examples = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for name, example in examples.get("application/json", {}).get("examples", {}).items():
            model = name.removesuffix(", by column")
            query = f"?model={model}" if path in {"/predict", "/predict_batch"} else ""
            place = path.format(model=model, version="1") + query
            assert host.client.post(place, example["value"]).status_code == 200
            sent += 1
    assert sent == 11


@pytest.mark.parametrize("path", ["/predict", "/predict?model=toy", "/predict/label", "/predict_batch"])
def test_before_a_model_is_loaded_callers_are_told_to_come_back(make_host, path) -> None:
    """503 and when, also for what only a contract knows of: a 404 would say that it will never be there."""
    answer = make_host().client.post(path, {"row": ROW})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert answer.json()["error"].startswith("no model answers yet: there is no desired.json")
    contract = make_host().client.get("/models/toy/contract")
    assert (contract.status_code, contract.json()["error"]) == (503, answer.json()["error"])


def test_the_version_of_the_interface_does_not_move_with_a_deployment(host, make_bundle) -> None:
    """It is the interface's; which generation is described is said beside it."""
    before = host.client.get("/openapi.json").json()["info"]
    host.serve(make_bundle(model="other", seed=5))
    after = host.client.get("/openapi.json").json()["info"]
    assert before["version"] == after["version"] == "1"
    assert (before["description"], after["description"]) == (
        "Models: toy (version 1, default). Generation 1 of the desired state.",
        "Models: toy (version 1, default), other (version 1). Generation 2 of the desired state.",
    )


def test_the_document_says_what_the_contract_says(host) -> None:
    """Types, ranges and what is required come from the contract."""
    row = host.client.get("/openapi.json").json()["components"]["schemas"]["toyRow"]
    assert row["required"] == ["width"]
    assert (row["properties"]["width"]["minimum"], row["properties"]["width"]["maximum"]) == (0, 10)
    assert row["properties"]["height"]["maximum"] == pytest.approx(3.4028e38, rel=1e-4)
    assert row["properties"]["letter"]["type"] == "string"


def test_the_docs_page_needs_no_other_host(host) -> None:
    """Every script and style of /docs comes from this service."""
    page = host.client.get("/docs").text
    assert "http" not in page.replace("https://", "http://").split("<html")[1]
    for name in ("swagger-ui-bundle.js", "swagger-ui.css"):
        assert f"/static_content/{name}" in page
        assert host.client.get(f"/static_content/{name}").status_code == 200


def test_what_is_answered_is_counted(host) -> None:
    """Latency, classes, accepted oddities and refusals are all in the metrics."""
    from prometheus_client import generate_latest

    host.client.post("/predict", {"row": ROW | {"height": 99, "letter": "?"}})
    host.client.post("/predict", {"row": {}})
    text = generate_latest(host.metrics.registry).decode()
    assert 'flightline_prediction_seconds_count{model="toy",version="1"} 1.0' in text
    assert 'flightline_out_of_range_total{feature="height",model="toy"} 1.0' in text
    assert 'flightline_unknown_category_total{feature="letter",model="toy"} 1.0' in text
    assert 'flightline_refused_requests_total{status="422"} 1.0' in text


def test_answered_rows_are_logged_and_refused_ones_are_not(host) -> None:
    """The log holds what was answered, row for row, with the caller's ids."""
    import polars as pl

    host.client.post("/predict", {"row": ROW, "id": "one"}, **{"X-Request-Id": "r1"})
    host.client.post(
        "/predict_batch", {"rows": [ROW, ROW], "ids": ["two", "three"]}, **{"X-Request-Id": "r2"}
    )
    host.client.post("/predict", {"row": {}})
    host.log.close()
    table = pl.read_parquet(host.settings.predictions / "toy" / "*.parquet")
    contract = host.versions.current.models["toy"].predictor.contract
    assert dict(table.schema) == log_schema(contract)
    assert table["entity_id"].to_list() == ["one", "two", "three"]
    assert table["request_id"].to_list() == ["r1", "r2/0", "r2/1"]
    assert table["feature.letter"].to_list() == ["A"] * 3

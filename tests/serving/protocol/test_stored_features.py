"""Features of the online store over the protocol V2 and over claimed routes, as over /predict (S1, S4)."""

import grpc
import msgspec
import numpy as np
import polars as pl
import pytest

from contract.bundle import Golden, GoldenRow
from contract.graphs import onnxruntime
from serving.grpc import inference_pb2
from tests.conftest import toy_graph
from tests.serving.grpc.calling import speak
from tests.serving.protocol.stored import (
    CONTRACT,
    KEYS,
    LEFT,
    STORED,
    STRICT,
    column,
    fill,
    of_grpc,
    of_predict,
    of_rest,
    over_grpc,
    tensors,
    to_message,
)
from tests.training.worlds import minute

INFER, NOON = "/v2/models/toy/infer", minute(0).isoformat()
FOUND = {"height": 20.5, "rate": 20.5, "seats": 180.0, "floor": 3.0}

pytestmark = pytest.mark.unit


def released(make_bundle, contract):
    """A release of a contract whose golden row has whole numbers."""
    graph = toy_graph(contract)
    row = {f.name: 1.0 if f.kind == "number" else "A" for f in contract.features}
    inputs = {
        "numbers": np.ones((1, len(contract.numbers)), dtype=np.float32),
        "categories": np.array([["A"]], dtype=object),
    }
    session = onnxruntime().InferenceSession(graph, providers=["CPUExecutionProvider"])
    labels, scores = session.run(["label", "scores"], inputs)
    golden = GoldenRow(row=row, label=contract.classes[labels[0]], scores=tuple(map(float, scores[0])))
    return make_bundle(contract=contract, graph=graph, golden=Golden(tolerance=1e-4, rows=(golden,)))


@pytest.fixture
def host(make_host, make_bundle):
    """A service of the model over a store that knows one flight."""
    made = make_host("request")
    made.serve(released(make_bundle, CONTRACT))
    fill(made.completer.store)
    return made


def beside(count, **changes):
    """The tensors beside `count` rows."""
    said = {
        "id": column("id", "BYTES", [f"flight-{i}" for i in range(count)]),
        "at": column("at", "BYTES", [NOON] * count),
        "flight": column("keys.flight", "INT64", [KEYS["flight"]] * count),
        "origin": column("keys.origin", "BYTES", [KEYS["origin"]] * count),
        "tail": column("keys.tail", "BYTES", [KEYS["tail"]] * count),
        **changes,
    }
    return [tensor for tensor in said.values() if tensor is not None]


def logged(host):
    """The prediction log, in the order of the requests."""
    host.log.close()
    return pl.read_parquet(host.settings.predictions / "toy" / "*.parquet").sort("received_at", "request_id")


def answers(host, body):
    """Labels and scores over REST and over gRPC."""
    rest = host.client.post(INFER, body)
    assert rest.status_code == 200, rest.text
    return of_rest(rest.json()), of_grpc(over_grpc(host, to_message(body)))


def test_what_a_request_leaves_out_comes_from_the_store(host):
    """Over both transports the answer of /predict, from the values that the store has."""
    rows = [LEFT, {"width": 4.0, "letter": "B"}]
    wanted = host.client.post(
        "/predict_batch", {"rows": rows, "keys": [KEYS] * 2, "at": [NOON] * 2, "ids": ["x", "y"]}
    )
    rest, rpc = answers(host, {"inputs": tensors(rows) + beside(2)})
    assert rest[0] == rpc[0] == of_predict(wanted.json())[0]
    assert rest[1] == rpc[1] == of_predict(wanted.json())[1]
    whole = [{**row, **FOUND, "floor": FOUND["floor"] if row is LEFT else None} for row in rows]
    assert answers(host, {"inputs": tensors(whole)}) == (rest, rpc)


def test_the_log_and_the_counters_know_what_was_filled(host):
    """Ids, moments, keys and filled names are those that /predict logs; what is missing is counted."""
    body = {"inputs": tensors([LEFT, LEFT]) + beside(2)}
    host.client.post("/predict_batch", {"rows": [LEFT] * 2, "keys": [KEYS] * 2, "at": [NOON] * 2})
    answers(host, body)
    found = logged(host)
    assert found["entity_id"].to_list() == [None, None, *["flight-0", "flight-1"] * 2]
    assert found["event_time"].unique().to_list() == [minute(0)]
    for name, value in FOUND.items():
        assert found[f"feature.{name}"].unique().to_list() == [value]
    assert found["keys"].n_unique() == 1
    assert found["filled"].to_list() == [STORED] * 6
    count = host.metrics.registry.get_sample_value
    assert count("flightline_online_features_total", {"model": "toy"}) == 6 * len(STORED)


def test_one_row_may_say_it_in_parameters(host):
    """Scalars are what clients can send there; several rows may share a moment and keys."""
    parameters = {"id": "mine", "at": NOON, **{f"keys.{name}": value for name, value in KEYS.items()}}
    one = answers(host, {"inputs": tensors([LEFT]), "parameters": parameters})
    assert one == answers(host, {"inputs": tensors([LEFT]) + beside(1)})
    del parameters["id"]
    two = answers(host, {"inputs": tensors([LEFT] * 2), "parameters": parameters})
    assert two[0][1] == one[0][1] * 2
    assert logged(host)["entity_id"].to_list()[:2] == ["mine", "mine"]


def test_without_keys_features_are_missing_and_stale_ones_are_null(host):
    """By the contract's rule, and counted as for /predict."""
    late = minute(40).isoformat()
    body = {"inputs": tensors([LEFT]), "parameters": {"at": late, "keys.origin": "JFK"}}
    assert host.client.post(INFER, body).status_code == 200
    assert not isinstance(over_grpc(host, to_message(body)), grpc.aio.AioRpcError)
    summary = host.completer.summary()
    assert summary["stale"] == {"toy.height": 2}
    assert summary["missing"] == {"toy.rate": 2, "toy.seats": 2}


def test_a_feature_that_must_be_there_is_refused_by_name(make_host, make_bundle):
    """422 and INVALID_ARGUMENT where the store has none."""
    host = make_host("request")
    host.serve(released(make_bundle, STRICT))
    body = {"inputs": tensors([LEFT]), "parameters": {"at": NOON}}
    refused = host.client.post("/v2/models/strict/infer", body)
    assert refused.status_code == 422
    assert "rows[0].height: found nothing, and the online store has none" in refused.json()["error"]
    error = over_grpc(host, to_message(body, "strict"))
    assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, refused.json()["error"])


def test_what_was_sent_is_left_alone(host):
    """Also null; and the graph's own inputs bring everything."""
    given = {**LEFT, "height": 3.5, "rate": None}
    host.client.post(INFER, {"inputs": tensors([given]) + beside(1)})
    numbers = column("numbers", "FP32", [1.0, 2.0, 3.0, 4.0, 5.0])
    words = column("categories", "BYTES", ["A"])
    body = {"inputs": [{**numbers, "shape": [1, 5]}, {**words, "shape": [1, 1]}]}
    assert host.client.post(INFER, body).status_code == 200
    found = logged(host)
    assert found["filled"].to_list() == [["seats", "floor"], []]
    assert found.row(0, named=True)["feature.rate"] is None


@pytest.mark.parametrize(
    ("changes", "parameters", "words"),
    [
        ({"id": column("id", "BYTES", ["a"])}, {}, "inputs 'id': found the shape [1]"),
        ({"id": column("id", "INT64", [1, 2])}, {}, "inputs 'id': found the datatype INT64; expected BYTES"),
        ({"id": column("id", "BYTES", ["a", "b" * 201])}, {}, "'id[1]' has 201 characters"),
        ({"at": column("at", "BYTES", [NOON, "noon"])}, {}, "'at[1]' is not an RFC 3339 moment"),
        ({"tail": column("keys.tial", "BYTES", ["a", "b"])}, {}, "did you mean 'tail'?"),
        ({"tail": column("keys.tail", "FP32", [1, 2])}, {}, "expected BYTES or INT64"),
        ({"tail": column("keys.tail", "BYTES", ["a", "b" * 201])}, {}, "keys[1].tail: found a string of 201"),
        ({"flight": column("keys.flight", "INT64", [1, 1 << 80])}, {}, "keys[1].flight: found a huge number"),
        ({"flight": column("keys.flight", "INT64", [1, 1.5])}, {}, "an array of whole numbers"),
        ({}, {"id": "mine"}, "parameters 'id': found a value, and a tensor of that name"),
        ({"id": None}, {"id": "mine"}, "one id for 2 rows; expected a tensor 'id' of 2"),
        ({"at": None}, {"at": 5}, "parameters 'at': found no string"),
        ({"tail": None}, {"keys.tial": "N1"}, "parameters 'keys.tial': found an unknown key"),
        ({"tail": None}, {"keys.tail": True}, "keys[0].tail: found a boolean"),
        ({"tail": None}, {"keys.tail": 1.5}, "keys[0].tail: found a fraction"),
    ],
)
def test_what_cannot_be_said_of_a_row_is_refused(host, changes, parameters, words):
    """422 with the place, what was found and what is expected."""
    body = {"inputs": tensors([LEFT] * 2) + beside(2, **changes), "parameters": parameters}
    answer = host.client.post(INFER, body)
    assert (answer.status_code, words in answer.json()["error"]) == (422, True), answer.text
    assert all(problem["found"] for problem in answer.json()["problems"])


def test_a_moment_is_refused_where_the_clock_is_wall_time(make_host, make_bundle):
    """As by /predict; without one it is now."""
    host = make_host()
    host.serve(released(make_bundle, CONTRACT))
    refused = host.client.post(INFER, {"inputs": tensors([LEFT]), "parameters": {"at": NOON}})
    assert (refused.status_code, "clock is wall time" in refused.json()["error"]) == (422, True)
    assert host.client.post(INFER, {"inputs": tensors([LEFT])}).status_code == 200


def test_metadata_marks_what_may_be_left_out(host):
    """In REST and in gRPC: the optional columns, the stored ones, and their keys."""
    numbers, words = host.client.get("/v2/models/toy").json()["inputs"]
    assert numbers["parameters"] == {
        "columns": "width, height, rate, seats, floor",
        "optional": "height, rate, seats, floor",
        "stored": "height, rate, seats, floor",
        "keys": "flight, origin, tail",
    }
    assert words["parameters"] == {"columns": "letter", "optional": "letter"}
    asked = inference_pb2.ModelMetadataRequest(name="toy")
    said = speak(host, lambda call: call("ModelMetadata", asked)).inputs
    for tensor, rest in zip(said, (numbers, words), strict=True):
        assert {key: value.string_param for key, value in tensor.parameters.items()} == rest["parameters"]


def test_a_feature_of_that_name_goes_first(make_host, make_bundle):
    """A contract may call a feature `id`; its ids are then said in no tensor."""
    named = msgspec.structs.replace(CONTRACT.features[0], name="id")
    contract = msgspec.structs.replace(CONTRACT, features=(named, *CONTRACT.features[1:5]))
    host = make_host("request")
    host.serve(released(make_bundle, contract))
    body = {"inputs": [column("id", "FP32", [2.0]), column("letter", "BYTES", ["A"])]}
    assert host.client.post(INFER, body).status_code == 200
    assert logged(host)["feature.id"].to_list() == [2.0]


def test_a_request_may_bring_keys_alone(make_host, make_bundle):
    """Where all that a caller knows may be missing; with nothing at all nobody knows how many rows."""
    loose = msgspec.structs.replace(CONTRACT.features[0], nullable=True)
    features = (loose, *CONTRACT.features[1:5])
    host = make_host("request")
    host.serve(released(make_bundle, msgspec.structs.replace(CONTRACT, features=features)))
    fill(host.completer.store)
    answered = host.client.post(INFER, {"inputs": beside(2)})
    wanted = {"rows": [{}] * 2, "keys": [KEYS] * 2, "at": [NOON] * 2}
    assert of_rest(answered.json()) == of_predict(host.client.post("/predict_batch", wanted).json())
    refused = host.client.post(INFER, {"inputs": []})
    assert "inputs: found nothing; expected at least one of width" in refused.json()["error"]


def test_a_claimed_route_is_completed_too(host):
    """A row of what only the caller knows, with id, moment and keys beside it."""
    wanted = host.client.post("/predict", {"row": LEFT, "keys": KEYS, "at": NOON}).json()["prediction"]
    body = {"data": [list(LEFT.values())], "id": "mine", "at": NOON, "keys": KEYS}
    assert host.client.post("/predict/toy", body).json() == {"prediction": wanted}
    whole = [*LEFT.values(), *FOUND.values()]
    assert host.client.post("/predict/toy", {"data": [whole]}).json() == {"prediction": wanted}
    found = logged(host)
    assert found["entity_id"].to_list() == [None, "mine", None]
    assert found["filled"].to_list() == [STORED, STORED, []]
    refused = host.client.post("/predict/toy", {"data": [[1.0]]})
    assert (refused.status_code, "or 2 values: width, letter" in refused.json()["error"]) == (422, True)
    wrong = host.client.post("/predict/toy", {"data": [list(LEFT.values())], "keys": {"tial": "N1"}})
    assert wrong.json()["problems"][0]["field"] == "keys.tial"

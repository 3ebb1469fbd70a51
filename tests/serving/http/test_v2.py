"""The Open Inference Protocol V2 over REST (S1)."""

import json
import struct

import numpy as np
import polars as pl
import pytest

from contract.predictions import FEATURE_PREFIX
from serving.http.admission import Admission
from serving.http.app import build_app
from serving.http.bodies import BATCH_BYTES
from serving.protocol.tensors import join_strings, split_strings
from serving.recording.encoded import Encoded
from tests.serving.conftest import Client
from tests.serving.http.bad_inputs.v2_bytes import GOOD, HEADERS, LENGTH, binary_request
from tests.serving.http.bad_inputs.v2_tensors import INFER, NUMBERS, WORDS

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}


def test_the_server_and_its_health(host, make_host) -> None:
    """Live at once, ready when every desired model was loaded."""
    empty = make_host()
    assert host.client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert host.client.get("/v2/health/live").json() == {"live": True}
    assert host.client.get("/v2/health/ready").json() == {"ready": True}
    assert empty.client.get("/v2/health/live").status_code == 200
    assert empty.client.get("/v2/health/ready").status_code == 503
    assert empty.client.get("/v2/models/toy").status_code == 503
    assert empty.client.post(INFER, {"inputs": [NUMBERS, WORDS]}).status_code == 503


def test_metadata_says_what_stands_in_which_column(host) -> None:
    """Whoever builds a tensor from it builds the right one."""
    body = host.client.get("/v2/models/toy").json()
    assert (body["name"], body["versions"]) == ("toy", ["1"])
    assert body["inputs"] == [
        {
            "name": "numbers",
            "datatype": "FP32",
            "shape": [-1, 2],
            "parameters": {"columns": "width, height", "optional": "height"},
        },
        {
            "name": "categories",
            "datatype": "BYTES",
            "shape": [-1, 1],
            "parameters": {"columns": "letter", "optional": "letter"},
        },
    ]
    assert [output["name"] for output in body["outputs"]] == ["label", "scores"]
    assert host.client.get("/v2/models/toy/versions/1").json() == body
    assert host.client.get("/v2/models/toy/ready").json()["ready"] is True


def test_the_answer_is_that_of_predict(host) -> None:
    """Same label, same scores, in the body's tensors; the id comes back."""
    wanted = host.client.post("/predict", {"row": ROW}).json()
    answer = host.client.post(INFER, {"id": "mine", "inputs": [NUMBERS, WORDS]})
    body = answer.json()
    label, scores = body["outputs"]
    assert answer.status_code == 200
    assert (body["id"], body["model_name"], body["model_version"]) == ("mine", "toy", "1")
    assert label == {"name": "label", "datatype": "BYTES", "shape": [1], "data": [wanted["prediction"]]}
    assert (scores["datatype"], scores["shape"]) == ("FP32", [1, 3])
    assert scores["data"] == pytest.approx(list(wanted["scores"].values()))
    assert answer.headers["X-Model-Digest"] == body["parameters"]["digest"] == wanted["digest"]


def test_golden_rows_answer_as_in_training(host) -> None:
    """Missing numbers are null, missing categories empty strings."""
    golden = host.versions.current.models["toy"].predictor.bundle.golden
    rows = [item.row for item in golden.rows]
    data = [[row["width"], row["height"]] for row in rows]
    inputs = [
        {"name": "numbers", "datatype": "FP32", "shape": [len(rows), 2], "data": data},
        {
            "name": "categories",
            "datatype": "BYTES",
            "shape": [len(rows), 1],
            "data": [row["letter"] or "" for row in rows],
        },
    ]
    label, scores = host.client.post(INFER, {"inputs": inputs}).json()["outputs"]
    assert label["data"] == [item.label for item in golden.rows]
    wanted = np.array([item.scores for item in golden.rows])
    assert np.allclose(np.reshape(scores["data"], wanted.shape), wanted, atol=golden.tolerance)


def test_binary_tensors_both_ways(host) -> None:
    """Inputs behind the JSON, outputs behind the JSON of the answer, with the lengths in headers."""
    content, headers = binary_request(
        struct.pack("<2f", 1.5, 0.25), join_strings(["A"]), parameters={"binary_data_output": True}
    )
    answer = host.client.request("POST", INFER, content=content, headers=headers)
    length = int(answer.headers["Inference-Header-Content-Length"])
    label, scores = json.loads(answer.content[:length])["outputs"]
    tail = answer.content[length:]
    size = label["parameters"]["binary_data_size"]
    wanted = host.client.post("/predict", {"row": ROW}).json()
    assert split_strings("label", tail[:size]) == [wanted["prediction"]]
    assert len(tail) == size + scores["parameters"]["binary_data_size"]
    assert np.frombuffer(tail[size:], "<f4").tolist() == pytest.approx(list(wanted["scores"].values()))


def test_only_what_is_asked_for_is_answered(host) -> None:
    """In the order of asking, each in the form that was wanted."""
    outputs = [{"name": "scores", "parameters": {"binary_data": True}}, {"name": "label"}]
    answer = host.client.post(INFER, {"inputs": [NUMBERS, WORDS], "outputs": outputs})
    body = json.loads(answer.content[: int(answer.headers["Inference-Header-Content-Length"])])
    assert [output["name"] for output in body["outputs"]] == ["scores", "label"]
    assert "data" in body["outputs"][1]
    alone = host.client.post(INFER, {"inputs": [NUMBERS, WORDS], "outputs": [{"name": "label"}]})
    assert [output["name"] for output in alone.json()["outputs"]] == ["label"]


def test_a_version_in_the_path_is_that_version_or_none(host) -> None:
    """Another one is 404."""
    body = {"inputs": [NUMBERS, WORDS]}
    assert host.client.post("/v2/models/toy/versions/1/infer", body).status_code == 200
    assert host.client.post("/v2/models/toy/versions/2/infer", body).status_code == 404


def test_every_row_is_counted_and_logged(host) -> None:
    """As /predict does: the log has the values, the counter has the accepted oddity."""
    inputs = [
        {**NUMBERS, "shape": [2, 2], "data": [1.5, 99, 2.5, None]},
        {**WORDS, "shape": [2, 1], "data": ["A", ""]},
    ]
    answer = host.client.request("POST", INFER, json={"inputs": inputs}, headers={"X-Request-Id": "batch"})
    assert answer.status_code == 200
    host.log.close()
    table = pl.read_parquet(host.settings.predictions / "toy" / "*.parquet").sort("request_id")
    assert table["request_id"].to_list() == ["batch/0", "batch/1"]
    assert table[FEATURE_PREFIX + "height"].to_list() == [99.0, None]
    assert table[FEATURE_PREFIX + "letter"].to_list() == ["A", None]
    count = host.metrics.registry.get_sample_value(
        "flightline_out_of_range_total", {"model": "toy", "feature": "height"}
    )
    assert count == 1


def test_long_tensors_come_to_the_log_encoded(host, monkeypatch) -> None:
    """It keeps up with them only so."""
    found, append = [], host.log.append

    def heard(answered, encoded=None) -> None:
        found.append(type(encoded))
        append(answered, encoded)

    monkeypatch.setattr(host.log, "append", heard)
    inputs = [
        {**NUMBERS, "shape": [300, 2], "data": [1.5, 99] * 300},
        {**WORDS, "shape": [300, 1], "data": ["A"] * 300},
    ]
    assert host.client.post(INFER, {"inputs": inputs}).status_code == 200
    assert found == [Encoded]
    host.log.close()
    table = pl.read_parquet(host.settings.predictions / "toy" / "*.parquet")
    assert table[FEATURE_PREFIX + "height"].to_list() == [99.0] * 300


def test_too_large_a_body_is_refused(host) -> None:
    """By its header before it is read, and by counting where it comes in pieces."""
    too_long = {"Content-Length": str(BATCH_BYTES + 1)}
    assert host.client.request("POST", INFER, content=b"{}", headers=too_long).status_code == 413

    async def pieces():
        for _ in range(BATCH_BYTES // 65536 + 2):
            yield b" " * 65536

    assert host.client.request("POST", INFER, content=pieces()).status_code == 413


def test_a_binary_request_needs_no_content_type(host) -> None:
    """Tritonclient sends none."""
    headers = {LENGTH: HEADERS[LENGTH]}
    assert host.client.request("POST", INFER, content=GOOD, headers=headers).status_code == 200


def test_too_much_at_once_is_refused_for_now(host) -> None:
    """503 with Retry-After while another request holds the only place, and afterwards an answer."""
    admission = Admission(1, 1_000)
    app = build_app(host.settings, host.versions, host.log, host.metrics, admission=admission)
    body = {"inputs": [NUMBERS, WORDS]}
    with admission.request():
        refused = Client(app).post(INFER, body)
    assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
    assert "another attempt later" in refused.json()["error"]
    assert Client(app).post(INFER, body).status_code == 200
    many = {
        "inputs": [
            {**NUMBERS, "shape": [9, 2], "data": [1] * 18},
            {**WORDS, "shape": [9, 1], "data": ["A"] * 9},
        ]
    }
    with admission.batch(995):
        assert Client(app).post(INFER, many).status_code == 503
        assert Client(app).post(INFER, body).status_code == 200
    assert Client(app).post(INFER, many).status_code == 200
    assert (admission.requests, admission.rows) == (0, 0)

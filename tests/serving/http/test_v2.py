"""The Open Inference Protocol V2 over REST (S1)."""

import json
import struct

import numpy as np
import polars as pl
import pytest

from contract.predictions import FEATURE_PREFIX
from serving.http.admission import Admission
from serving.http.app import build_app
from serving.http.bodies import BATCH_BYTES, BATCH_ROWS
from serving.protocol.tensors import join_strings, split_strings
from tests.serving.conftest import Client

pytestmark = pytest.mark.unit

ROW = {"width": 1.5, "height": 0.25, "letter": "A"}
NUMBERS = {"name": "numbers", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 0.25]}
WORDS = {"name": "categories", "datatype": "BYTES", "shape": [1, 1], "data": ["A"]}
INFER = "/v2/models/toy/infer"


def binary_request(numbers: bytes, words: bytes, **changes: object) -> tuple[bytes, dict[str, str]]:
    """A request whose tensors follow its JSON, and its headers."""
    head = {
        "inputs": [
            {
                "name": name,
                "datatype": datatype,
                "shape": [1, width],
                "parameters": {"binary_data_size": len(data)},
            }
            for name, datatype, width, data in (
                ("numbers", "FP32", 2, numbers),
                ("categories", "BYTES", 1, words),
            )
        ],
        **changes,
    }
    text = json.dumps(head).encode()
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(len(text)),
    }
    return text + numbers + words, headers


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
    """Another one is 404, with the near miss named."""
    body = {"inputs": [NUMBERS, WORDS]}
    assert host.client.post("/v2/models/toy/versions/1/infer", body).status_code == 200
    refused = host.client.post("/v2/models/toy/versions/2/infer", body)
    assert (refused.status_code, "no version '2'" in refused.json()["error"]) == (404, True)
    assert host.client.get("/v2/models/toy/versions/2/ready").status_code == 404
    assert "did you mean 'toy'" in host.client.get("/v2/models/toi").json()["error"]


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


def bad(**changes: object) -> dict[str, object]:
    """A request with another first tensor, or more beside it."""
    return {"inputs": [{**NUMBERS, **changes}, WORDS]}


BAD = {
    "no-inputs": ({"inputs": []}, "nothing"),
    "no-key": ({}, "key 'inputs' is missing"),
    "not-an-object": ([], "object"),
    "unknown-key": ({"inputs": [NUMBERS, WORDS], "input": 1}, "unknown key 'input'"),
    "unknown-key-inside": (bad(dtype="FP32"), "unknown key 'dtype'"),
    "missing-tensor": ({"inputs": [NUMBERS]}, "inputs 'categories': found nothing"),
    "unknown-tensor": ({"inputs": [NUMBERS, WORDS, {**WORDS, "name": "numbrs"}]}, "did you mean 'numbers'"),
    "tensor-twice": ({"inputs": [NUMBERS, NUMBERS, WORDS]}, "the same tensor twice"),
    "wrong-datatype": (bad(datatype="FP64"), "the datatype 'FP64'"),
    "other-datatype": (bad(datatype="BYTES", data=["1", "2"]), "the datatype BYTES"),
    "no-datatype": (bad(datatype=""), "the datatype ''"),
    "wrong-width": (bad(shape=[1, 3], data=[1, 2, 3]), "the shape [1, 3]"),
    "one-axis": (bad(shape=[2]), "the shape [2]"),
    "three-axes": (bad(shape=[1, 1, 2]), "3 axes"),
    "no-axis": (bad(shape=[], data=[1]), "the shape []"),
    "negative-shape": (bad(shape=[-1, 2]), "the shape [-1, 2]"),
    "empty-batch": (bad(shape=[0, 2], data=[]), "1 to 1000 rows"),
    "huge-shape": (bad(shape=[2**62, 2**62]), "2 values"),
    "shape-of-text": (bad(shape=["1", "2"]), "Expected `int`"),
    "shape-of-fractions": (bad(shape=[1.5, 2]), "Expected `int`"),
    "rows-differ": (bad(shape=[2, 2], data=[1, 2, 3, 4]), "[2, 1]"),
    "too-few-values": (bad(data=[1]), "1 values"),
    "too-many-values": (bad(data=[1, 2, 3]), "3 values"),
    "ragged": (bad(shape=[2, 2], data=[[1, 2, 3], [4]]), "2 wide"),
    "nested-too-deeply": (bad(data=[[[1, 2]]]), "an array of numbers"),
    "text-for-numbers": (bad(data=["1", "2"]), "an array of numbers"),
    "booleans-for-numbers": (bad(data=[True, False]), "an array of numbers"),
    "numbers-for-text": ({"inputs": [NUMBERS, {**WORDS, "data": [1]}]}, "an array of strings"),
    "an-object-for-data": (bad(data={"a": 1}), "an array of numbers"),
    "no-data": ({"inputs": [{k: v for k, v in NUMBERS.items() if k != "data"}, WORDS]}, "data, or its size"),
    "too-large-a-number": (bad(data=[1e39, 0]), "inf"),
    "out-of-range": (bad(data=[11, 0]), "rows[0].width: found 11; expected a number, at least 0.0"),
    "null-where-required": (bad(data=[None, 0]), "rows[0].width: found null"),
    "nul-character": ({"inputs": [NUMBERS, {**WORDS, "data": ["a\0"]}]}, "NUL"),
    "too-many-rows": (
        {
            "inputs": [
                {**NUMBERS, "shape": [BATCH_ROWS + 1, 2], "data": [0] * (2 * BATCH_ROWS + 2)},
                {**WORDS, "shape": [BATCH_ROWS + 1, 1], "data": ["A"] * (BATCH_ROWS + 1)},
            ]
        },
        "1 to 1000 rows",
    ),
    "unknown-output": ({"inputs": [NUMBERS, WORDS], "outputs": [{"name": "score"}]}, "did you mean 'scores'"),
    "output-twice": (
        {"inputs": [NUMBERS, WORDS], "outputs": [{"name": "label"}, {"name": "label"}]},
        "twice",
    ),
    "classification": (
        {"inputs": [NUMBERS, WORDS], "outputs": [{"name": "scores", "parameters": {"classification": 2}}]},
        "not supported",
    ),
    "shared-memory": (bad(parameters={"shared_memory_region": "x"}), "not supported"),
    "sequence": ({"inputs": [NUMBERS, WORDS], "parameters": {"sequence_id": 7}}, "not supported"),
    "long-id": ({"inputs": [NUMBERS, WORDS], "id": "x" * 201}, "201 characters"),
    "id-a-number": ({"inputs": [NUMBERS, WORDS], "id": 1}, "Expected `str"),
    "another-model": ({"inputs": [NUMBERS, WORDS], "model_name": "other"}, "as the path says"),
    "parameters-a-list": ({"inputs": [NUMBERS, WORDS], "parameters": []}, "Expected `object"),
    "parameter-nested": ({"inputs": [NUMBERS, WORDS], "parameters": {"a": {}}}, "Expected"),
    "size-without-bytes": (
        {"inputs": [{**NUMBERS, "data": None, "parameters": {"binary_data_size": 8}}, WORDS]},
        "binary_data_size of 8",
    ),
    "size-is-true": (
        {"inputs": [{**NUMBERS, "data": None, "parameters": {"binary_data_size": True}}, WORDS]},
        "binary_data_size of True",
    ),
    "both-forms": (bad(parameters={"binary_data_size": 0}), "both forms"),
    "huge-key": ({"inputs": [NUMBERS, WORDS], "k" * 100_000: 1}, "too long"),
    "feature-missing": (
        {"inputs": [{"name": "letter", "datatype": "BYTES", "shape": [1], "data": ["A"]}]},
        "inputs 'width': found nothing",
    ),
    "feature-of-other-length": (
        {
            "inputs": [
                {"name": "width", "datatype": "FP32", "shape": [1], "data": [1]},
                {"name": "letter", "datatype": "BYTES", "shape": [2], "data": ["A", "B"]},
            ]
        },
        "[1] or [1, 1]",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_wrong_request_is_one_sentence(host, name) -> None:
    """422 with the protocol's `error`, which says what was found and what was expected."""
    body, words = BAD[name]
    answer = host.client.post(INFER, body)
    assert answer.status_code == 422, answer.text[:300]
    assert words in answer.json()["error"]
    assert len(answer.content) < 5_000


DEEP = b'{"inputs": [{"name": "numbers", "shape": [1, 2], "datatype": "FP32", "data": '
GOOD = binary_request(struct.pack("<2f", 1.5, 0.25), join_strings(["A"]))


@pytest.mark.parametrize(
    ("content", "headers", "status", "words"),
    [
        pytest.param(b"{", {}, 400, "not JSON", id="not-json"),
        pytest.param(b'{"inputs": [{"name": "\xff"}]}', {}, 400, "", id="bad-utf-8"),
        pytest.param(DEEP + b"[" * 100_000 + b"]" * 100_000 + b"}]}", {}, 400, "", id="deep"),
        pytest.param(b'{"inputs": [], "inputs": []}', {}, 422, "inputs: found several", id="key-twice"),
        pytest.param(
            b'{"inputs": [{"name":"numbers","shape":[1,2],"datatype":"FP32","data":[NaN,1]}]}',
            {},
            400,
            "",
            id="nan-literal",
        ),
        pytest.param(b"{}", {"Content-Type": "text/plain"}, 415, "text/plain", id="text"),
        pytest.param(b"{}", {"Content-Type": "application/x-pickle"}, 415, "pickle", id="pickle"),
        pytest.param(b"{}", {"Content-Encoding": "gzip"}, 415, "encoded", id="gzip"),
        pytest.param(GOOD[0], {"Inference-Header-Content-Length": "0"}, 400, "1 to", id="length-0"),
        pytest.param(GOOD[0], {"Inference-Header-Content-Length": "-5"}, 400, "1 to", id="length-minus"),
        pytest.param(GOOD[0], {"Inference-Header-Content-Length": "9999"}, 400, "1 to", id="length-large"),
        pytest.param(GOOD[0], {"Inference-Header-Content-Length": "x"}, 400, "1 to", id="length-text"),
        pytest.param(GOOD[0], {"Inference-Header-Content-Length": "9" * 5000}, 400, "", id="length-long"),
        pytest.param(GOOD[0] + b"more", GOOD[1], 422, "belong to no input", id="bytes-too-many"),
        pytest.param(GOOD[0][:-3], GOOD[1], 422, "binary_data_size", id="bytes-too-few"),
        pytest.param(
            *binary_request(struct.pack("<2f", float("nan"), 0), join_strings(["A"])),
            422,
            "width: found null",
            id="nan",
        ),
        pytest.param(
            *binary_request(struct.pack("<2f", 1, float("inf")), join_strings(["A"])), 422, "inf", id="inf"
        ),
        pytest.param(
            *binary_request(struct.pack("<f", 1), join_strings(["A"])), 422, "4 bytes; expected 8", id="size"
        ),
        pytest.param(
            *binary_request(struct.pack("<2f", 1, 0), join_strings(["A", "B"])), 422, "2 values", id="count"
        ),
        pytest.param(
            *binary_request(struct.pack("<2f", 1, 0), b"\1\0\0\0\xff"), 422, "UTF-8", id="binary-utf-8"
        ),
    ],
)
def test_a_wrong_body_has_its_own_status(host, content, headers, status, words) -> None:
    """The JSON, its length, the types, and the binary tensors behind it."""
    sent = {"Content-Type": "application/json", **headers}
    answer = host.client.request("POST", INFER, content=content, headers=sent)
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]


def test_too_large_a_body_is_refused(host) -> None:
    """By its header before it is read, and by counting where it comes in pieces."""
    too_long = {"Content-Length": str(BATCH_BYTES + 1)}
    assert host.client.request("POST", INFER, content=b"{}", headers=too_long).status_code == 413

    async def pieces():
        for _ in range(BATCH_BYTES // 65536 + 2):
            yield b" " * 65536

    assert host.client.request("POST", INFER, content=pieces()).status_code == 413


def test_a_wrong_method_and_a_wrong_query_are_objects_too(host) -> None:
    """405 names the right one; parameters belong into the body."""
    wrong = host.client.get(INFER)
    assert (wrong.status_code, wrong.headers["Allow"]) == (405, "POST")
    assert "error" in wrong.json()
    assert host.client.post(INFER + "?version=1", {"inputs": []}).status_code == 422


def test_a_binary_request_needs_no_content_type(host) -> None:
    """Tritonclient sends none."""
    headers = {"Inference-Header-Content-Length": GOOD[1]["Inference-Header-Content-Length"]}
    assert host.client.request("POST", INFER, content=GOOD[0], headers=headers).status_code == 200


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

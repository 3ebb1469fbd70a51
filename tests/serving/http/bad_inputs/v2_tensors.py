"""Requests of the protocol V2 whose tensors, outputs or parameters cannot be meant."""

import json
from typing import Any

from serving.http.bodies import BATCH_ROWS
from tests.serving.http.bad_inputs.form import Bad

INFER = "/v2/models/toy/infer"
NUMBERS = {"name": "numbers", "datatype": "FP32", "shape": [1, 2], "data": [1.5, 0.25]}
WORDS = {"name": "categories", "datatype": "BYTES", "shape": [1, 1], "data": ["A"]}


def v2(value: object, field: str, words: str, url: str = INFER) -> Bad:
    """A request in JSON, refused for what it says."""
    return Bad(json.dumps(value).encode(), 422, field, url, words=words)


def bad(**changes: Any) -> dict[str, Any]:
    """The good request with another first tensor."""
    return {"inputs": [{**NUMBERS, **changes}, WORDS]}


def column(name: str, datatype: str, *data: Any) -> dict[str, Any]:
    """A tensor of one value a row."""
    return {"name": name, "datatype": datatype, "shape": [len(data)], "data": list(data)}


def shop(field: str, words: str, *tensors: dict[str, Any], **parameters: Any) -> Bad:
    """Two rows without stored features, and what is said beside them."""
    inputs = [column("letter", "BYTES", "A", "B"), *tensors]
    return v2({"inputs": inputs, "parameters": parameters}, field, words, "/v2/models/shop/infer")


CASES = {
    "v2 no inputs": v2({"inputs": []}, "inputs 'width'", "nothing"),
    "v2 no key": v2({}, "body", "key 'inputs' is missing"),
    "v2 not an object": v2([], "body", "object"),
    "v2 unknown key": v2({"inputs": [NUMBERS, WORDS], "input": 1}, "body", "unknown key 'input'"),
    "v2 unknown key inside": v2(bad(dtype="FP32"), "body", "unknown key 'dtype'"),
    "v2 missing tensor": v2(
        {"inputs": [NUMBERS]}, "inputs 'categories'", "inputs 'categories': found nothing"
    ),
    "v2 unknown tensor": v2(
        {"inputs": [NUMBERS, WORDS, {**WORDS, "name": "numbrs"}]}, "inputs 'numbrs'", "did you mean 'numbers'"
    ),
    "v2 tensor twice": v2({"inputs": [NUMBERS, NUMBERS, WORDS]}, "inputs 'numbers'", "the same tensor twice"),
    "v2 wrong datatype": v2(bad(datatype="FP64"), "inputs 'numbers'", "the datatype 'FP64'"),
    "v2 other datatype": v2(bad(datatype="BYTES", data=["1", "2"]), "inputs 'numbers'", "the datatype BYTES"),
    "v2 no datatype": v2(bad(datatype=""), "inputs 'numbers'", "the datatype ''"),
    "v2 wrong width": v2(bad(shape=[1, 3], data=[1, 2, 3]), "inputs 'numbers'", "the shape [1, 3]"),
    "v2 one axis": v2(bad(shape=[2]), "inputs 'numbers'", "the shape [2]"),
    "v2 three axes": v2(bad(shape=[1, 1, 2]), "inputs 'numbers'", "3 axes"),
    "v2 no axis": v2(bad(shape=[], data=[1]), "inputs 'numbers'", "the shape []"),
    "v2 negative shape": v2(bad(shape=[-1, 2]), "inputs 'numbers'", "the shape [-1, 2]"),
    "v2 empty batch": v2(bad(shape=[0, 2], data=[]), "inputs 'numbers'", "1 to 1000 rows"),
    "v2 huge shape": v2(bad(shape=[2**62, 2**62]), "inputs 'numbers'", "2 values"),
    "v2 shape of text": v2(bad(shape=["1", "2"]), "body", "Expected `int`"),
    "v2 shape of fractions": v2(bad(shape=[1.5, 2]), "body", "Expected `int`"),
    "v2 rows differ": v2(bad(shape=[2, 2], data=[1, 2, 3, 4]), "inputs 'categories'", "[2, 1]"),
    "v2 too few values": v2(bad(data=[1]), "inputs 'numbers'", "1 values"),
    "v2 too many values": v2(bad(data=[1, 2, 3]), "inputs 'numbers'", "3 values"),
    "v2 ragged": v2(bad(shape=[2, 2], data=[[1, 2, 3], [4]]), "inputs 'numbers', data", "2 wide"),
    "v2 nested too deeply": v2(bad(data=[[[1, 2]]]), "inputs 'numbers', data", "an array of numbers"),
    "v2 text for numbers": v2(bad(data=["1", "2"]), "inputs 'numbers', data", "an array of numbers"),
    "v2 booleans for numbers": v2(bad(data=[True, False]), "inputs 'numbers', data", "an array of numbers"),
    "v2 numbers for text": v2(
        {"inputs": [NUMBERS, {**WORDS, "data": [1]}]}, "inputs 'categories', data", "an array of strings"
    ),
    "v2 an object for data": v2(bad(data={"a": 1}), "inputs 'numbers', data", "an array of numbers"),
    "v2 no data": v2(
        {"inputs": [{k: v for k, v in NUMBERS.items() if k != "data"}, WORDS]},
        "inputs 'numbers'",
        "data, or its size",
    ),
    "v2 too large a number": v2(bad(data=[1e39, 0]), "rows[0].width", "inf"),
    "v2 out of range": v2(
        bad(data=[11, 0]), "rows[0].width", "rows[0].width: found 11; expected a number, at least 0.0"
    ),
    "v2 null where required": v2(bad(data=[None, 0]), "rows[0].width", "rows[0].width: found null"),
    "v2 nul character": v2({"inputs": [NUMBERS, {**WORDS, "data": ["a\x00"]}]}, "rows[0].letter", "NUL"),
    "v2 too many rows": v2(
        {
            "inputs": [
                {**NUMBERS, "shape": [BATCH_ROWS + 1, 2], "data": [0] * (2 * BATCH_ROWS + 2)},
                {**WORDS, "shape": [BATCH_ROWS + 1, 1], "data": ["A"] * (BATCH_ROWS + 1)},
            ]
        },
        "inputs 'numbers'",
        "1 to 1000 rows",
    ),
    "v2 unknown output": v2(
        {"inputs": [NUMBERS, WORDS], "outputs": [{"name": "score"}]},
        "outputs 'score'",
        "did you mean 'scores'",
    ),
    "v2 output twice": v2(
        {"inputs": [NUMBERS, WORDS], "outputs": [{"name": "label"}, {"name": "label"}]},
        "outputs 'label'",
        "twice",
    ),
    "v2 classification": v2(
        {"inputs": [NUMBERS, WORDS], "outputs": [{"name": "scores", "parameters": {"classification": 2}}]},
        "parameters 'classification'",
        "not supported",
    ),
    "v2 shared memory": v2(
        bad(parameters={"shared_memory_region": "x"}), "parameters 'shared_memory_region'", "not supported"
    ),
    "v2 sequence": v2(
        {"inputs": [NUMBERS, WORDS], "parameters": {"sequence_id": 7}},
        "parameters 'sequence_id'",
        "not supported",
    ),
    "v2 long id": v2({"inputs": [NUMBERS, WORDS], "id": "x" * 201}, "id", "201 characters"),
    "v2 id a number": v2({"inputs": [NUMBERS, WORDS], "id": 1}, "body", "Expected `str"),
    "v2 another model": v2(
        {"inputs": [NUMBERS, WORDS], "model_name": "other"}, "model_name", "as the path says"
    ),
    "v2 parameters a list": v2({"inputs": [NUMBERS, WORDS], "parameters": []}, "body", "Expected `object"),
    "v2 parameter nested": v2({"inputs": [NUMBERS, WORDS], "parameters": {"a": {}}}, "body", "Expected"),
    "v2 size without bytes": v2(
        {"inputs": [{**NUMBERS, "data": None, "parameters": {"binary_data_size": 8}}, WORDS]},
        "inputs 'numbers'",
        "binary_data_size of 8",
    ),
    "v2 size is true": v2(
        {"inputs": [{**NUMBERS, "data": None, "parameters": {"binary_data_size": True}}, WORDS]},
        "inputs 'numbers'",
        "binary_data_size of True",
    ),
    "v2 both forms": v2(bad(parameters={"binary_data_size": 0}), "inputs 'numbers'", "both forms"),
    "v2 huge key": v2({"inputs": [NUMBERS, WORDS], "k" * 100000: 1}, "body", "too long"),
    "v2 feature missing": v2(
        {"inputs": [{"name": "letter", "datatype": "BYTES", "shape": [1], "data": ["A"]}]},
        "inputs 'width'",
        "inputs 'width': found nothing",
    ),
    "v2 feature of other length": v2(
        {
            "inputs": [
                {"name": "width", "datatype": "FP32", "shape": [1], "data": [1]},
                {"name": "letter", "datatype": "BYTES", "shape": [2], "data": ["A", "B"]},
            ]
        },
        "inputs 'letter'",
        "[1] or [1, 1]",
    ),
    "v2 whole numbers for a feature": v2(
        bad(datatype="INT64", data=[1, 2]), "inputs 'numbers'", "the datatype INT64"
    ),
    "v2 ids that are too few": shop("inputs 'id'", "the shape [1]", column("id", "BYTES", "a")),
    "v2 ids of numbers": shop("inputs 'id'", "the datatype INT64", column("id", "INT64", 1, 2)),
    "v2 id that is long": shop("id[1]", "201 characters", column("id", "BYTES", "a", "b" * 201)),
    "v2 moment under wall clock": shop("at[0]", "clock is wall time", at="2013-01-01T00:00:00Z"),
    "v2 moment that is a number": shop("parameters 'at'", "no string", at=5),
    "v2 moments that are numbers": shop("inputs 'at'", "the datatype INT64", column("at", "INT64", 1, 2)),
    "v2 one id for two rows": shop("parameters 'id'", "one id for 2 rows", id="a"),
    "v2 id in both forms": shop(
        "parameters 'id'", "a tensor of that name", column("id", "BYTES", "a", "b"), id="a"
    ),
    "v2 unknown key of a row": shop(
        "inputs 'keys.shelv'", "mean 'shelf'", column("keys.shelv", "INT64", 1, 2)
    ),
    "v2 unknown key as a parameter": shop("parameters 'keys.shelv'", "an unknown key", **{"keys.shelv": 1}),
    "v2 key without a name": shop("parameters 'keys.'", "an unknown key", **{"keys.": 1}),
    "v2 key of fractions": shop(
        "inputs 'keys.shelf'", "expected BYTES or INT64", column("keys.shelf", "FP32", 1, 2)
    ),
    "v2 key that is true": shop("keys[0].shelf", "a boolean", **{"keys.shelf": True}),
    "v2 key with a fraction": shop("keys[0].shelf", "a fraction", **{"keys.shelf": 1.5}),
    "v2 key that is long": shop(
        "keys[1].shelf", "201 characters", column("keys.shelf", "BYTES", "a", "b" * 201)
    ),
    "v2 key of a model without any": v2(
        bad() | {"parameters": {"keys.shelf": 1}}, "parameters 'keys.shelf'", "expected none"
    ),
    "v2 stored feature that nobody has": shop("rows[0].width", "the online store has none"),
    "v2 stored feature out of range": shop("rows[1].width", "found 99", column("width", "FP32", 1, 99)),
}

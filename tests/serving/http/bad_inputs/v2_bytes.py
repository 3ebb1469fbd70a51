"""Requests of the protocol V2 that are wrong before their tensors are looked at, and binary tensors."""

import json
import struct

from serving.http.bodies import BATCH_BYTES
from serving.protocol.tensors import join_strings
from tests.serving.http.bad_inputs.form import Bad, asked
from tests.serving.http.bad_inputs.v2_tensors import INFER, NUMBERS, WORDS

JSON = {"content-type": "application/json"}
LENGTH = "Inference-Header-Content-Length"
DEEP = b'{"inputs": [{"name": "numbers", "shape": [1, 2], "datatype": "FP32", "data": '


def binary_request(numbers: bytes, words: bytes, **changes: object) -> tuple[bytes, dict[str, str]]:
    """A request whose tensors follow its JSON, and its headers."""
    inputs = [
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
    ]
    text = json.dumps({"inputs": inputs, **changes}).encode()
    headers = {"Content-Type": "application/octet-stream", LENGTH: str(len(text))}
    return text + numbers + words, headers


GOOD, HEADERS = binary_request(struct.pack("<2f", 1.5, 0.25), join_strings(["A"]))
TENSORS = json.dumps({"inputs": [NUMBERS, WORDS]}).encode()


def text(content: bytes, status: int, field: str = "body", words: str = "", **headers: str) -> Bad:
    """A body as it stands, with more headers."""
    sent = {"content-type": headers.pop("kind", "application/json"), **headers}
    return Bad(content, status, field, INFER, headers=sent, words=words)


def binary(numbers: bytes, words: bytes, field: str, sentence: str) -> Bad:
    """Tensors in binary form."""
    content, headers = binary_request(numbers, words)
    return Bad(content, 422, field, INFER, headers=headers, words=sentence)


def header_length(value: str) -> Bad:
    """The good binary request under another length of its JSON."""
    return Bad(GOOD, 400, LENGTH, INFER, headers=JSON | {LENGTH: value}, words="1 to")


def other(url: str, status: int, field: str, words: str = "", method: str = "POST") -> Bad:
    """The good request at a wrong address."""
    return Bad(TENSORS, status, field, url, method, words=words)


CASES = {
    "v2 no json": text(b"{", 400, words="not JSON"),
    "v2 no body": text(b"", 400, words="not JSON"),
    "v2 bad utf-8": text(b'{"inputs": [{"name": "\xff"}]}', 400),
    "v2 nested deeply": text(DEEP + b"[" * 100_000 + b"]" * 100_000 + b"}]}", 400, words="nested too deeply"),
    "v2 key twice": text(b'{"inputs": [], "inputs": []}', 422, "inputs", "several values"),
    "v2 literal of nan": text(DEEP + b"[NaN, 1]}]}", 400),
    "v2 as text": text(b"{}", 415, "content-type", "text/plain", kind="text/plain"),
    "v2 as a pickle": text(b"\x80\x04", 415, "content-type", "pickle", kind="application/x-pickle"),
    "v2 as a form": text(b"{}", 415, "content-type", "multipart", kind="multipart/form-data; boundary=x"),
    "v2 as an encoded body": text(TENSORS, 415, "content-encoding", "gzip", **{"content-encoding": "gzip"}),
    "v2 large body": text(b" " * (BATCH_BYTES + 1), 413, words="4096 KiB"),
    "v2 header length zero": header_length("0"),
    "v2 header length below zero": header_length("-5"),
    "v2 header length beyond the body": header_length("9999"),
    "v2 header length in words": header_length("x"),
    "v2 header length of many digits": header_length("9" * 5000),
    "v2 bytes of no input": Bad(
        GOOD + b"more", 422, "body", INFER, headers=HEADERS, words="belong to no input"
    ),
    "v2 bytes cut off": Bad(
        GOOD[:-3], 422, "inputs 'categories'", INFER, headers=HEADERS, words="binary_data_size"
    ),
    "v2 nan in binary form": binary(
        struct.pack("<2f", float("nan"), 0), join_strings(["A"]), "rows[0].width", "found null"
    ),
    "v2 infinity in binary form": binary(
        struct.pack("<2f", 1, float("inf")), join_strings(["A"]), "rows[0].height", "inf"
    ),
    "v2 half a number in binary form": binary(
        struct.pack("<f", 1), join_strings(["A"]), "inputs 'numbers'", "4 bytes; expected 8"
    ),
    "v2 two strings for one in binary form": binary(
        struct.pack("<2f", 1, 0), join_strings(["A", "B"]), "inputs 'categories'", "2 values"
    ),
    "v2 string of bad utf-8 in binary form": binary(
        struct.pack("<2f", 1, 0), b"\1\0\0\0\xff", "inputs 'categories'", "UTF-8"
    ),
    "v2 string without an end in binary form": binary(
        struct.pack("<2f", 1, 0), b"\xff\0\0\0A", "inputs 'categories'", "ends too early"
    ),
    "v2 unknown model": other("/v2/models/toi/infer", 404, "model", "did you mean 'toy'"),
    "v2 unknown version": other("/v2/models/toy/versions/2/infer", 404, "version", "no version '2'"),
    "v2 version in the query": other(INFER + "?version=1", 422, "version", "unknown parameter"),
    "v2 get of an inference": asked(INFER, 405, "method"),
    "v2 delete of a model": asked("/v2/models/toy", 405, "method", "DELETE"),
    "v2 metadata of an unknown model": asked("/v2/models/toi", 404, "model"),
    "v2 metadata with a parameter": asked("/v2/models/toy?version=1", 422, "version"),
    "v2 readiness of an unknown version": asked("/v2/models/toy/versions/9/ready", 404, "version"),
    "v2 model statistics": asked("/v2/models/toy/stats", 404, "path"),
    "v2 repository index": asked("/v2/repository/index", 404, "path", "POST"),
    "v2 shared memory status": asked("/v2/systemsharedmemory/status", 404, "path"),
    "v2 trace setting": asked("/v2/trace/setting", 404, "path", "POST", b"{}"),
}

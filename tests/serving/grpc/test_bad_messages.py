"""Wrong messages over gRPC: a code and a sentence, and the server goes on (M9)."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from serving.grpc import inference_pb2
from serving.grpc.server import HEADROOM
from serving.http.bodies import BATCH_BYTES
from tests.serving.grpc.calling import Request, refusal, request


def with_input(**changes: Any) -> Any:
    """A request whose first tensor differs."""
    made = request()
    for key, value in changes.items():
        if key == "shape":
            made.inputs[0].shape[:] = value
        elif key == "numbers":
            made.inputs[0].contents.fp32_contents[:] = value
        else:
            setattr(made.inputs[0], key, value)
    return made


def edited(edit: Callable[[Any], Any], *, typed: bool = True) -> Any:
    """A request after `edit`."""
    made = request(typed=typed)
    edit(made)
    return made


def said(**parameters: Any) -> Any:
    """A request with something said about its row in parameters."""
    made = request()
    for name, value in parameters.items():
        kind = "string_param" if isinstance(value, str) else "int64_param"
        made.parameters[name].CopyFrom(inference_pb2.InferParameter(**{kind: value}))
    return made


def column(message: Any, name: str, datatype: str, **contents: Any) -> None:
    """Add a tensor of one value a row."""
    (values,) = contents.values()
    added = message.inputs.add(name=name, datatype=datatype, shape=[len(values)])
    added.contents.CopyFrom(inference_pb2.InferTensorContents(**contents))


INVALID, MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("message", "code", "words"),
    [
        pytest.param(b"\xff\xff", INVALID, "no ModelInferRequest", id="no-message"),
        pytest.param(b"", MISSING, "no model ''", id="empty"),
        pytest.param(Request(model_name="toi"), MISSING, "did you mean 'toy'", id="unknown-model"),
        pytest.param(request(model_version="2"), MISSING, "no version '2'", id="unknown-version"),
        pytest.param(Request(model_name="toy"), INVALID, "found nothing", id="no-inputs"),
        pytest.param(with_input(name="numbrs"), INVALID, "unknown tensor", id="unknown-tensor"),
        pytest.param(with_input(name="categories"), INVALID, "same tensor twice", id="tensor-twice"),
        pytest.param(with_input(datatype="INT32"), INVALID, "datatype 'INT32'", id="datatype"),
        pytest.param(with_input(datatype="BYTES"), INVALID, "fp32_contents", id="contents-of-another"),
        pytest.param(with_input(shape=[1, 3]), INVALID, "2 values", id="shape"),
        pytest.param(with_input(shape=[-1, 2]), INVALID, "[-1, 2]", id="negative-shape"),
        pytest.param(with_input(shape=[1] * 1000), INVALID, "3 axes", id="many-axes"),
        pytest.param(with_input(shape=[2**62, 2**62]), INVALID, "2 values", id="huge-shape"),
        pytest.param(with_input(numbers=[1.5]), INVALID, "1 values", id="too-few"),
        pytest.param(with_input(numbers=[float("nan"), 0]), INVALID, "rows[0].width", id="nan"),
        pytest.param(with_input(numbers=[1, float("inf")]), INVALID, "rows[0].height", id="inf"),
        pytest.param(with_input(numbers=[11, 0]), INVALID, "found 11; expected", id="out-of-range"),
        pytest.param(
            edited(lambda m: m.outputs.add(name="x")), INVALID, "unknown tensor", id="unknown-output"
        ),
        pytest.param(
            edited(
                lambda m: m.parameters["sequence_id"].CopyFrom(inference_pb2.InferParameter(int64_param=3))
            ),
            INVALID,
            "not supported",
            id="sequence",
        ),
        pytest.param(
            edited(lambda m: m.raw_input_contents.append(b"")),
            INVALID,
            "1 values; expected 2",
            id="raw-count",
        ),
        pytest.param(
            edited(lambda m: m.raw_input_contents.extend([b"", b""])), INVALID, "both forms", id="both-forms"
        ),
        pytest.param(
            edited(lambda m: m.raw_input_contents.__setitem__(0, b"abc"), typed=False),
            INVALID,
            "3 bytes; expected 8",
            id="raw-size",
        ),
        pytest.param(
            edited(lambda m: m.raw_input_contents.__setitem__(1, b"\1\0\0\0\xff"), typed=False),
            INVALID,
            "UTF-8",
            id="raw-utf-8",
        ),
        pytest.param(request(id="x" * 201), INVALID, "201 characters", id="long-id"),
        pytest.param(said(id="x" * 201), INVALID, "'id[0]' has 201 characters", id="long-entity"),
        pytest.param(said(id=5), INVALID, "'id': found no string", id="entity-of-a-number"),
        pytest.param(said(at="2013-01-01T00:00:00Z"), INVALID, "clock is wall time", id="moment"),
        pytest.param(said(**{"keys.tail": "N1"}), INVALID, "unknown key; expected none", id="unknown-key"),
        pytest.param(
            edited(lambda m: column(m, "id", "BYTES", bytes_contents=[b"a", b"b"])),
            INVALID,
            "the shape [2]; expected [1]",
            id="two-ids-for-a-row",
        ),
        pytest.param(
            edited(lambda m: column(m, "id", "INT64", int64_contents=[1])),
            INVALID,
            "the datatype INT64; expected BYTES",
            id="ids-of-numbers",
        ),
        pytest.param(
            edited(lambda m: column(m, "id", "INT64", bytes_contents=[b"a"])),
            INVALID,
            "bytes_contents; expected int64_contents",
            id="whole-numbers-in-another-list",
        ),
    ],
)
def test_a_wrong_request_has_a_code_and_a_sentence(host, message, code, words) -> None:
    """INVALID_ARGUMENT or NOT_FOUND, never INTERNAL, with what was found and expected."""
    found, details = refusal(host, message)
    assert (found, words in details) == (code, True), details


def test_too_large_a_message_is_refused(host) -> None:
    """RESOURCE_EXHAUSTED before it is read; the server goes on."""
    assert refusal(host, b"\0" * (BATCH_BYTES + HEADROOM + 1))[0] is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal(host, b"\0" * 100)[0] is INVALID

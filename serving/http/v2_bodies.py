"""The body of a V2 inference request: JSON, after which the binary form of tensors may follow."""

import json
from typing import Any

import msgspec
from starlette.requests import ClientDisconnect, Request

from contract.errors import ConfigError
from contract.strict import decode_json
from serving.http.bodies import BATCH_BYTES, ID_LENGTH, no_json, not_whole, too_large
from serving.protocol.tensors import Tensor, from_bytes, from_json, wrong
from serving.rows import NAME_LENGTH

HEADER_LENGTH = "Inference-Header-Content-Length"
# A client that sends tensors in binary form names octets, or nothing at all.
CONTENT_TYPES = frozenset({"", "application/json", "application/octet-stream"})
# What a request might ask for that no model here can do.
UNSUPPORTED = ("sequence_id", "shared_memory_region", "classification")
LONG_SENTENCE = 500  # characters; a longer complaint quotes the body


class InputBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input; `data` stays as it was sent until its datatype is known."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, bool | int | float | str] | None = None
    data: msgspec.Raw = msgspec.Raw(b"null")

    @property
    def has_data(self) -> bool:
        """Whether its values are in the JSON."""
        return bytes(self.data) != b"null"


class OutputBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One output that is asked for."""

    name: str
    parameters: dict[str, bool | int | float | str] | None = None


class InferBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The JSON of a request. Some clients repeat there which model they mean."""

    inputs: list[InputBody]
    outputs: list[OutputBody] | None = None
    id: str | None = None
    parameters: dict[str, bool | int | float | str] | None = None
    model_name: str | None = None
    model_version: str | None = None

    def binary_outputs(self) -> dict[str, bool]:
        """The outputs that are asked for, and whether each is wanted in binary form."""
        default = bool((self.parameters or {}).get("binary_data_output", False))
        return {
            output.name: bool((output.parameters or {}).get("binary_data", default))
            for output in self.outputs or []
        } or {"": default}


async def read_infer(request: Request) -> bytearray:
    """The body of an inference request, refused from its headers where they say enough.

    Raises:
        RefusedError: 413, 415 or 400.
    """
    _check_headers(request)
    data = bytearray()
    try:
        async for chunk in request.stream():
            data += chunk
            if len(data) > BATCH_BYTES:
                raise too_large(BATCH_BYTES)
    except ClientDisconnect:
        raise not_whole("only a part of it", "the caller went away before the body was complete") from None
    return data


def decode_infer(request: Request, data: bytearray) -> tuple[InferBody, list[Tensor]]:
    """What `data`, the body of `request`, says, and its tensors.

    Raises:
        RefusedError: 400 or 422.
    """
    length = _header_length(request, len(data))
    body = _decode(data[:length])
    if body.id is not None and len(body.id) > ID_LENGTH:
        raise wrong("id", f"{len(body.id)} characters", f"at most {ID_LENGTH}")
    for asked in _parts(body):
        check_parameters(asked.parameters or {})
    return body, _tensors(body, memoryview(data)[length:])


def check_parameters(parameters: dict[str, Any]) -> None:
    """Refuse parameters that ask for what no model here can do; others change nothing.

    Raises:
        RefusedError: 422.
    """
    for name in UNSUPPORTED:
        if parameters.get(name):
            raise wrong(f"parameters '{name}'", "a value", "nothing: it is not supported")


def _parts(body: InferBody) -> list[InferBody | InputBody | OutputBody]:
    """Everything in a request that has parameters."""
    return [body, *body.inputs, *(body.outputs or [])]


def _tensors(body: InferBody, binary: memoryview) -> list[Tensor]:
    tensors: list[Tensor] = []
    position = 0
    for tensor in body.inputs:
        place = f"inputs '{tensor.name[:NAME_LENGTH]}'"
        size = (tensor.parameters or {}).get("binary_data_size")
        if size is None:
            if not tensor.has_data:
                raise wrong(place, "nothing", "data, or its size in binary form")
            tensors.append(from_json(tensor.name, tensor.datatype, tensor.shape, tensor.data))
            continue
        if tensor.has_data:
            raise wrong(place, "data in both forms", "data in one form")
        if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(binary) - position:
            raise wrong(
                place,
                f"a binary_data_size of {str(size)[:20]}",
                f"at most the {len(binary) - position} bytes that follow",
            )
        part = binary[position : position + size]
        tensors.append(from_bytes(tensor.name, tensor.datatype, tensor.shape, part))
        position += size
    if position != len(binary):
        raise wrong("body", f"{len(binary) - position} bytes that belong to no input", "none")
    return tensors


def _decode(data: bytearray) -> InferBody:
    try:
        body = msgspec.json.decode(data, type=InferBody)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        if not isinstance(error, msgspec.ValidationError):
            raise no_json(data, str(error)[:LONG_SENTENCE]) from None
        if len(str(error)) > LONG_SENTENCE:  # searching a near miss of a huge key would take minutes
            raise wrong("body", "a key or value that is too long", "a V2 inference request") from None
        try:
            return decode_json(bytes(data), InferBody, "body")
        except ConfigError as explained:
            raise wrong("body", explained.found.removeprefix("body: "), explained.expected) from None
    except RecursionError:
        raise not_whole("nesting without end", "the body is nested too deeply") from None
    _check_once(data, body)
    return body


def _check_once(data: bytearray, body: InferBody) -> None:
    """Refuse a key that its object has already: of two values the decoder silently keeps the last.

    Colons are counted first, which is cheap: with no more of them than there are keys, none was lost.
    """
    keys = sum(
        len([name for name in part.__struct_fields__ if getattr(part, name) is not None])
        + len(part.parameters or {})
        for part in _parts(body)
    )
    inside = sum(bytes(tensor.data).count(b":") for tensor in body.inputs)
    if data.count(b":") - inside <= keys:
        return

    def once(pairs: list[tuple[str, Any]]) -> None:
        names = [name for name, _ in pairs]
        for name in names if len(set(names)) < len(names) else ():
            if names.count(name) > 1:
                raise wrong(name[:NAME_LENGTH], "several values", "one")

    json.loads(data, object_pairs_hook=once, parse_int=str, parse_float=str)


def _check_headers(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in CONTENT_TYPES:
        raise wrong("content-type", kind[:NAME_LENGTH], "application/json or application/octet-stream", 415)
    coding = request.headers.get("content-encoding", "identity")
    if coding.lower() != "identity":
        raise wrong("content-encoding", coding[:NAME_LENGTH], "identity, or none", 415)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > BATCH_BYTES:
        raise too_large(BATCH_BYTES)


def _header_length(request: Request, size: int) -> int:
    """How many bytes of the body are JSON: all, unless the header says less."""
    sent = request.headers.get(HEADER_LENGTH)
    if sent is None:
        return size
    if not (sent.isascii() and sent.isdecimal()) or not 0 < int(sent[:20]) <= size:
        raise wrong(HEADER_LENGTH, f"'{sent[:20]}'", f"1 to {size}, the length of the body", 400)
    return int(sent)

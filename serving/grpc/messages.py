"""Between the protocol's messages and tensors."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from serving.grpc.inference_pb2 import (
    InferParameter,
    ModelInferRequest,
    ModelInferResponse,
    ModelMetadataResponse,
)
from serving.protocol.models import TensorMetadata
from serving.protocol.outputs import Output
from serving.protocol.tensors import BYTES, INT64, Tensor, check_count, check_head, from_bytes, text_of, wrong
from serving.rows import NAME_LENGTH

CONTENTS = {"FP32": "fp32_contents", "BYTES": "bytes_contents", "INT64": "int64_contents"}


def tensors_of(request: ModelInferRequest) -> list[Tensor]:
    """The inputs of a request, from typed lists or from the binary form of all of them.

    Raises:
        RefusedError: 422, datatype, shape and values do not belong together.
    """
    raw = request.raw_input_contents
    if raw and len(raw) != len(request.inputs):
        raise wrong(
            "raw_input_contents", f"{len(raw)} values", f"{len(request.inputs)}, one an input, or none"
        )
    found: list[Tensor] = []
    for index, tensor in enumerate(request.inputs):
        place = f"inputs '{tensor.name[:NAME_LENGTH]}'"
        shape = tuple(tensor.shape[:3])
        if raw:
            if tensor.HasField("contents"):
                raise wrong(place, "values in both forms", "values in one form")
            found.append(from_bytes(tensor.name, tensor.datatype, shape, raw[index]))
            continue
        count = check_head(tensor.name, tensor.datatype, shape)
        kept = CONTENTS[tensor.datatype]
        others = [field.name for field, _ in tensor.contents.ListFields() if field.name != kept]
        if others:
            raise wrong(place, others[0], f"{kept}, as its datatype says")
        values = getattr(tensor.contents, kept)
        check_count(tensor.name, len(values), count)
        if tensor.datatype == BYTES:
            found.append(Tensor(tensor.name, tensor.datatype, shape, text_of(tensor.name, values)))
        elif tensor.datatype == INT64:
            found.append(Tensor(tensor.name, tensor.datatype, shape, list(values)))
        else:
            found.append(Tensor(tensor.name, tensor.datatype, shape, np.array(values, dtype=np.float32)))
    return found


def parameters_of(parameters: Mapping[str, InferParameter]) -> dict[str, Any]:
    """Parameters as plain values; one without a value is left out."""
    plain = {key: value.WhichOneof("parameter_choice") for key, value in parameters.items()}
    return {key: getattr(parameters[key], kind) for key, kind in plain.items() if kind}


def answer_of(
    name: str, version: str, identity: str, outputs: Sequence[Output], parameters: Mapping[str, str]
) -> ModelInferResponse:
    """An answer with its tensors in binary form, which every client reads."""
    return ModelInferResponse(
        model_name=name,
        model_version=version,
        id=identity,
        parameters={key: InferParameter(string_param=value) for key, value in parameters.items()},
        outputs=[
            ModelInferResponse.InferOutputTensor(
                name=output.name, datatype=output.datatype, shape=output.shape
            )
            for output in outputs
        ],
        raw_output_contents=[output.binary() for output in outputs],
    )


def described(tensor: TensorMetadata) -> ModelMetadataResponse.TensorMetadata:
    """What a model takes or answers, as a message."""
    return ModelMetadataResponse.TensorMetadata(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tensor.shape,
        parameters={key: InferParameter(string_param=value) for key, value in tensor.parameters.items()},
    )

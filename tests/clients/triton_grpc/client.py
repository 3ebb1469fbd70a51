"""Ask a V2 server over gRPC with tritonclient[grpc], unmodified, and print what came back as JSON."""

import json
import sys

import numpy as np
import tritonclient.grpc as triton


def refused(call):
    """The status and the message of a call that fails."""
    try:
        call()
    except triton.InferenceServerException as error:
        return [str(error.status()), error.message()]
    return None


def tensors(numbers, words):
    """The inputs of a request."""
    found = []
    for name, datatype, values in (("numbers", "FP32", numbers), ("categories", "BYTES", words)):
        tensor = triton.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values)
        found.append(tensor)
    return found


def main(address, model, version):
    """Metadata, health, inference, versions, refusals."""
    client = triton.InferenceServerClient(address)
    numbers = np.array([[1.5, 0.25], [9.0, -2.0]], dtype=np.float32)
    words = np.array([["A"], ["B"]], dtype=object)
    outputs = [triton.InferRequestedOutput(name) for name in ("label", "scores")]
    answer = client.infer(model, tensors(numbers, words), version, outputs, request_id="mine")
    default = client.infer(model, tensors(numbers, words))
    ids = triton.InferInput("id", [2], "BYTES")
    ids.set_data_from_numpy(np.array(["first", "second"], dtype=object))
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model, version),
        "other_ready": refused(lambda: client.is_model_ready("nobody")),
        "server": client.get_server_metadata(as_json=True),
        "model": client.get_model_metadata(model, version, as_json=True),
        "answers": {
            "binary": {
                "id": answer.get_response().id,
                "version": answer.get_response().model_version,
                "label": [value.decode() for value in answer.as_numpy("label").tolist()],
                "scores": answer.as_numpy("scores").tolist(),
            }
        },
        "default": default.as_numpy("scores").tolist(),
        "unknown_model": refused(lambda: client.infer("nobody", tensors(numbers, words))),
        "unknown_version": refused(lambda: client.infer(model, tensors(numbers, words), "999")),
        "out_of_range": refused(lambda: client.infer(model, tensors(numbers * 9, words))),
        "with_ids": client.infer(model, [*tensors(numbers, words), ids]).as_numpy("scores").tolist(),
        "one_id": refused(lambda: client.infer(model, tensors(numbers, words), parameters={"id": "mine"})),
        "a_key": refused(lambda: client.infer(model, tensors(numbers, words), parameters={"keys.flight": 7})),
        "wrong_shape": refused(lambda: client.infer(model, tensors(numbers[:1], words))),
    }
    client.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Ask a V2 server over REST with tritonclient[http], unmodified, and print what came back as JSON."""

import json
import sys

import numpy as np
import tritonclient.http as triton


def refused(call):
    """The status and the message of a call that fails."""
    try:
        call()
    except triton.InferenceServerException as error:
        return [error.status(), error.message()]
    return None


def tensors(numbers, words, *, binary):
    """The inputs of a request."""
    found = []
    for name, datatype, values in (("numbers", "FP32", numbers), ("categories", "BYTES", words)):
        tensor = triton.InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        found.append(tensor)
    return found


def main(url, model, version):
    """Metadata, health, inference in both forms, versions, refusals."""
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    numbers = np.array([[1.5, 0.25], [9.0, -2.0]], dtype=np.float32)
    words = np.array([["A"], ["B"]], dtype=object)
    answers = {}
    for form in (True, False):
        outputs = [triton.InferRequestedOutput(name, binary_data=form) for name in ("label", "scores")]
        answer = client.infer(
            model, tensors(numbers, words, binary=form), version, outputs, request_id="mine"
        )
        label = answer.as_numpy("label")
        answers[f"binary={form}"] = {
            "id": answer.get_response()["id"],
            "version": answer.get_response()["model_version"],
            "label": [v.decode() if isinstance(v, bytes) else str(v) for v in label.tolist()],
            "scores": answer.as_numpy("scores").tolist(),
        }
    default = client.infer(model, tensors(numbers, words, binary=True))
    ids = triton.InferInput("id", [2], "BYTES")
    ids.set_data_from_numpy(np.array(["first", "second"], dtype=object))
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model, version),
        "other_ready": client.is_model_ready("nobody"),
        "server": client.get_server_metadata(),
        "model": client.get_model_metadata(model, version),
        "answers": answers,
        "default": default.as_numpy("scores").tolist(),
        "unknown_model": refused(lambda: client.infer("nobody", tensors(numbers, words, binary=True))),
        "unknown_version": refused(lambda: client.infer(model, tensors(numbers, words, binary=True), "999")),
        "out_of_range": refused(lambda: client.infer(model, tensors(numbers * 9, words, binary=True))),
        "with_ids": client.infer(model, [*tensors(numbers, words, binary=True), ids])
        .as_numpy("scores")
        .tolist(),
        "one_id": refused(
            lambda: client.infer(model, tensors(numbers, words, binary=True), parameters={"id": "mine"})
        ),
        "a_key": refused(
            lambda: client.infer(model, tensors(numbers, words, binary=True), parameters={"keys.flight": 7})
        ),
        "wrong_shape": refused(lambda: client.infer(model, tensors(numbers[:1], words, binary=True))),
    }
    client.close()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""Ask a V2 server over REST and gRPC with kserve's clients, unmodified, and print what came back as JSON."""

import asyncio
import json
import logging
import sys

import grpc
import httpx
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

NUMBERS = np.array([[1.5, 0.25], [9.0, -2.0]], dtype=np.float32)
WORDS = np.array([["A"], ["B"]], dtype=object)


def request(model, numbers, *, binary):
    """Two rows, as the library packs them."""
    inputs = []
    for name, datatype, values in (("numbers", "FP32", numbers), ("categories", "BYTES", WORDS)):
        tensor = InferInput(name, list(values.shape), datatype)
        tensor.set_data_from_numpy(values, binary_data=binary)
        inputs.append(tensor)
    return InferRequest(model_name=model, infer_inputs=inputs, request_id="mine")


def answered(answer):
    """What an answer holds."""
    outputs = {output.name: output.as_numpy().reshape(output.shape).tolist() for output in answer.outputs}
    return {
        "id": answer.id,
        "version": answer.model_version,
        "label": [v.decode() if isinstance(v, bytes) else str(v) for v in outputs["label"]],
        "scores": outputs["scores"],
    }


async def refused(call):
    """The status and the message of a call that fails."""
    try:
        await call
    except httpx.HTTPStatusError as error:
        return [str(error.response.status_code), str(error)]
    except grpc.RpcError as error:
        return [str(error.code()), error.details()]
    return None


async def main(url, address, model):
    """Health, inference in every form, refusals, over both transports."""
    logging.disable(logging.CRITICAL)
    rest = InferenceRESTClient(RESTConfig(protocol="v2"))
    rpc = InferenceGRPCClient(address)
    found = {
        "rest": {
            "live": await rest.is_server_live(url),
            "ready": await rest.is_server_ready(url),
            "model_ready": await rest.is_model_ready(url, model),
            "other_ready": await rest.is_model_ready(url, "nobody"),
            "answers": {
                f"binary={form}": answered(
                    await rest.infer(url, request(model, NUMBERS, binary=form), model_name=model)
                )
                for form in (True, False)
            },
            "unknown_model": await refused(
                rest.infer(url, request("nobody", NUMBERS, binary=True), model_name="nobody")
            ),
            "out_of_range": await refused(
                rest.infer(url, request(model, NUMBERS * 9, binary=True), model_name=model)
            ),
        },
        "grpc": {
            "live": await rpc.is_server_live(),
            "ready": await rpc.is_server_ready(),
            "model_ready": await rpc.is_model_ready(model),
            "other_ready": await refused(rpc.is_model_ready("nobody")),
            "answers": {
                f"binary={form}": answered(await rpc.infer(request(model, NUMBERS, binary=form)))
                for form in (True, False)
            },
            "unknown_model": await refused(rpc.infer(request("nobody", NUMBERS, binary=True))),
            "out_of_range": await refused(rpc.infer(request(model, NUMBERS * 9, binary=True))),
        },
    }
    await rest.close()
    await rpc.close()
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

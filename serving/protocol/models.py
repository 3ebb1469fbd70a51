"""What a caller may ask about the server and its models, and how a model and a version are named."""

from dataclasses import dataclass

from contract.schema import Contract
from serving.http.bodies import RefusedError
from serving.http.replies import chosen
from serving.models.versions import Served, Snapshot
from serving.protocol.inputs import CATEGORIES, NUMBERS
from serving.protocol.outputs import LABEL, SCORES
from serving.protocol.tensors import BYTES, FP32

SERVER = "flightline"
EXTENSIONS = ("binary_tensor_data",)
PLATFORM = "onnxruntime_onnx"
ANY = -1  # a size that each request chooses


@dataclass(frozen=True)
class TensorMetadata:
    """One input or output: its name, its datatype, its shape, and what stands in its columns."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    columns: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()  # of the columns: may be left out where each is a tensor of its own
    stored: tuple[str, ...] = ()  # of the optional ones: the online store has them
    keys: tuple[str, ...] = ()  # of stored ones, to be sent beside the rows

    @property
    def parameters(self) -> dict[str, str]:
        """What the protocol has no field for, as a caller is told it: names with commas between them."""
        named = {"columns": self.columns, "optional": self.optional, "stored": self.stored, "keys": self.keys}
        return {key: ", ".join(names) for key, names in named.items() if names}


def choose(snapshot: Snapshot, model: str, version: str, request_id: str | None = None) -> Served:
    """What answers to `model`, and to `version` where one is named; else the split's draw of `request_id`.

    Without a request id it is the default version: what is said about a model must not change by chance.

    Raises:
        RefusedError: 503 before any model was loaded; 404, nobody answers to that name or version.
    """
    if not snapshot.loaded:
        raise RefusedError(503, "no model answers yet")
    if not version and request_id is None and model in snapshot.models:
        return snapshot.models[model]
    return chosen(snapshot, model, version or None, request_id or "")


def versions_of(snapshot: Snapshot, model: str) -> list[str]:
    """The versions of `model` that answer, the default first."""
    found = snapshot.loaded[model]
    return sorted(found.versions, key=lambda version: (version != found.default.version, version))


def inputs_of(contract: Contract) -> list[TensorMetadata]:
    """The graph's inputs, with the features in their columns."""
    return [
        TensorMetadata(
            name,
            datatype,
            (ANY, len(features)),
            columns=tuple(feature.name for feature in features),
            optional=tuple(feature.name for feature in features if feature.nullable or feature.stored),
            stored=tuple(feature.name for feature in features if feature.stored),
            keys=tuple(sorted({key for feature in features for key in feature.by} & set(contract.keys))),
        )
        for name, datatype, features in (
            (NUMBERS, FP32, contract.numbers),
            (CATEGORIES, BYTES, contract.categories),
        )
        if features
    ]


def outputs_of(contract: Contract) -> list[TensorMetadata]:
    """The class of each row by name, and its score for each class."""
    return [
        TensorMetadata(LABEL, BYTES, (ANY,)),
        TensorMetadata(SCORES, FP32, (ANY, len(contract.classes)), contract.classes),
    ]

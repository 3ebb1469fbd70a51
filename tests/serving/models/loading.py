"""A release, loaded as a server does it."""

import onnx
import pytest

from contract.errors import BundleError
from serving.models.predictor import Predictor


def load(release, **changes):
    """Load `release`, with other arguments where given."""
    arguments = {"release": release.path, "digest": release.digest, "version": "7", "trust": release.trust}
    return Predictor.load(**(arguments | changes))


def refused(release, match, **changes):
    """Expect that loading is refused with a sentence that matches."""
    with pytest.raises(BundleError, match=match):
        load(release, **changes)


def regraph(release, change):
    """The release's graph after `change`, as bytes."""
    model = onnx.load(release.bundle / "model.onnx")
    change(model.graph)
    return model.SerializeToString()

"""onnxruntime, as training tries graphs with it and serving runs them: one that tells nobody what it does."""

import os
from types import ModuleType

TELEMETRY_OFF = "ORT_DISABLE_TELEMETRY"


def onnxruntime() -> ModuleType:
    """The library, imported by whoever asks first, without its telemetry unless the variable says otherwise.

    Its telemetry is on by default: a database in the user's cache folder, a thread that writes it and sends
    to the makers, and megabytes of memory. Once the library is imported it has begun.
    """
    os.environ.setdefault(TELEMETRY_OFF, "1")
    import onnxruntime as library

    found: ModuleType = library
    return found

"""What a worker that `bentoml serve` starts gets of what `python -m serving` has.

BentoML has no setting for either; what this leans on is pinned by tests/serving/test_seam.py.
"""

import os
import socket
from typing import Any, cast


def take_protocol() -> None:
    """Have uvicorn use our protocol where nobody names one, as BentoML's worker does: 408, 431, one write."""
    from uvicorn.config import HTTP_PROTOCOLS, WS_PROTOCOLS

    from serving.http.wire import protocol

    cast("dict[str, Any]", HTTP_PROTOCOLS)["auto"] = protocol()
    WS_PROTOCOLS["auto"] = None  # who offers another protocol is answered in this one


def inherited_listener() -> socket.socket | None:
    """The socket that this worker's supervisor listens on, a handle of our own; None in any other process."""
    import click

    context = click.get_current_context(silent=True)
    number = context.params.get("fd") if context is not None else None
    return socket.socket(fileno=os.dup(number)) if isinstance(number, int) else None

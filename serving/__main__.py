"""Start the service on a port: `python -m serving --port 8000`, in this process and without a supervisor."""

import argparse
import os
import shutil
import signal
import socket
import sys
from functools import partial
from pathlib import Path
from typing import Any

from contract.attestation import read_trust
from contract.errors import FlightlineError
from serving.settings import Settings

# Seconds for requests in flight after SIGTERM. One second cuts off slow ones.
GRACE_SECONDS = 20


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; flags override the FLIGHTLINE_* variables of the same name."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    for name in ("state", "trust", "predictions", "clock"):
        parser.add_argument(f"--{name}", help=f"FLIGHTLINE_{name.upper()}")
    given = vars(parser.parse_args(arguments))
    for name in ("state", "trust", "predictions", "clock"):
        if given[name] is not None:
            os.environ[f"FLIGHTLINE_{name.upper()}"] = given[name]
    settings = Settings.from_environment()
    read_trust(settings.trust)
    with _bind(given["host"], given["port"]) as listener:
        _prepare(settings.state / "bentoml")
        return _serve(listener)


def _bind(host: str, port: int) -> socket.socket:
    """A bound socket, before anything slow. It listens, and so accepts, only once the service has started."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise FlightlineError(
            f"{host}:{port} cannot be used ({getattr(error, 'strerror', None) or error})",
            "a free port of this machine",
            "Stop what uses it or choose another --port",
        ) from None
    return listener


def _prepare(home: Path) -> None:
    """Give BentoML a writable home of its own, keep it quiet, and start its counters at zero."""
    counters = home / "prometheus"
    shutil.rmtree(counters, ignore_errors=True)  # the counters of processes that are gone
    try:
        counters.mkdir(parents=True)
    except OSError as error:
        raise FlightlineError(
            f"{home} cannot be written ({error.strerror})", "a writable state folder", "Choose another"
        ) from None
    os.environ["BENTOML_HOME"] = str(home)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(counters)
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    os.environ["DO_NOT_TRACK"] = "1"


def _serve(listener: socket.socket) -> int:
    import uvicorn

    from serving.http.limits import Limits
    from serving.http.wire import WireProtocol
    from serving.service import Flightline

    wire: Any = partial(WireProtocol, receive_seconds=Limits.from_environment().receive_seconds)
    service: Any = Flightline  # the decorator made it a bentoml.Service
    config = uvicorn.Config(
        app=service.to_asgi(),
        loop="uvloop",
        http=wire,
        ws="none",
        access_log=False,
        server_header=False,
        log_level="warning",
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    # uvicorn raises the signal that stopped it once more when it is done; then there is nothing left to do.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = uvicorn.Server(config)
    server.run(sockets=[listener])
    return 0 if server.started else 1


if __name__ == "__main__":
    try:
        code = main()
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)

"""Start the service on a port: `python -m serving --port 8000`; with `--workers 2` under a supervisor."""

import argparse
import os
import shutil
import socket
import sys
from pathlib import Path

from contract.attestation import read_trust
from contract.errors import FlightlineError
from serving.lean import spare
from serving.settings import Settings

# Seconds for requests in flight after SIGTERM. One second cuts off slow ones.
GRACE_SECONDS = 20
MOST_WORKERS = 64
SLACK_SECONDS = 5  # for a worker to write its last predictions
FOLDERS = ("state", "trust", "predictions")


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C; flags override the FLIGHTLINE_* variables of the same name."""
    given = _options().parse_args(arguments)
    for name in (*FOLDERS, "clock", "admin_port", "online_store"):
        if getattr(given, name) is not None:
            os.environ[f"FLIGHTLINE_{name.upper()}"] = getattr(given, name)
    settings = Settings.from_environment()
    if given.inherit is not None:
        return _worker(*given.inherit)
    if given.port is None:
        _options().error("--port is required")
    if not 1 <= given.workers <= MOST_WORKERS:
        raise FlightlineError(f"--workers is {given.workers}", f"1 to {MOST_WORKERS}", "Correct it")
    read_trust(settings.trust)
    with _bind(given.host, given.port) as listener:
        _check_admin(settings)
        if settings.grpc_port is not None:
            _bind(settings.grpc_host, settings.grpc_port).close()
        _prepare(settings.state / "bentoml")
        if given.workers > 1:
            return _supervise(settings, listener, given.workers)
        spare()
        from serving.process import serve

        return serve(listener, grace_seconds=GRACE_SECONDS, supervised=False)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description=__doc__,
        epilog="example: python -m serving --port 8000 --workers 2 --admin-port 8001",
    )
    parser.add_argument("--port", type=int, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--workers", type=int, default=1, help="processes that share the port (default: 1)")
    for name in (*FOLDERS, "clock", "admin-port", "online-store"):
        parser.add_argument(f"--{name}", help=f"FLIGHTLINE_{name.upper().replace('-', '_')}")
    # How a supervisor starts a worker: the listening socket, and a pipe that closes when the supervisor ends.
    parser.add_argument("--inherit", nargs=2, type=int, help=argparse.SUPPRESS)
    return parser


def _check_admin(settings: Settings) -> None:
    """Find now, and say in one sentence, what would be a trace in the log later."""
    if settings.admin_port is None:
        return
    from serving.admin.token import ensure_token

    if settings.admin_port:
        _bind("127.0.0.1", settings.admin_port).close()
    ensure_token(settings.state)


def _supervise(settings: Settings, listener: socket.socket, workers: int) -> int:
    """Run several workers, and the admin API beside them, so that no worker's death cuts a call off."""
    from serving.admin.server import Admin
    from serving.supervisor import Supervisor

    os.environ.pop("FLIGHTLINE_ADMIN_PORT", None)
    stop_seconds = settings.drain_seconds + GRACE_SECONDS + SLACK_SECONDS
    command = [sys.executable, "-m", "serving"]
    admin = Admin(settings.state, settings.admin_port)
    admin.start()
    try:
        return Supervisor(command, workers, listener, stop_seconds, settings.drain_seconds).run()
    finally:
        admin.close()


def _worker(listener: int, lifeline: int) -> int:
    """Be one worker of a supervisor."""
    spare()
    from serving.process import end_with, serve

    end_with(lifeline)
    inherited = socket.socket(fileno=listener)
    return serve(inherited, grace_seconds=GRACE_SECONDS, supervised=True)


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


if __name__ == "__main__":
    try:
        code = main()
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)

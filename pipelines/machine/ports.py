"""Whether a loopback port is free, and who has it when it is not."""

import socket

import psutil

from contract.errors import FlightlineError


def require_free(port: int, name: str, variable: str) -> None:
    """Nothing, if a server could listen on the loopback `port` now.

    Raises:
        FlightlineError: it is taken; the sentence names who has it and the `variable` that moves `name`.
    """
    if not is_free(port):
        raise FlightlineError(
            f"port {port} is in use by {port_holder(port)}",
            f"a free port for {name}",
            f"Stop that program (your own servers: `make down`), or choose another port with {variable}=PORT",
        )


def port_holder(port: int) -> str:
    """Who listens on a loopback `port`, as words; not every system tells."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == port
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return "another program"


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

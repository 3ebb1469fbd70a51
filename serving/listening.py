"""The end of a listening socket without a reset: nobody new comes in, and who has come in is accepted.

Whoever the kernel has connected and nobody has accepted is cut off when the socket closes. Accepting until
the queue is empty leaves the moment between the last look and the close. So the kernel is told first to drop
what asks to connect: such a caller tries again a second later, and finds nobody.
"""

import asyncio
import contextlib
import ctypes
import logging
import select
import socket
import struct

logger = logging.getLogger(__name__)

ATTACH_FILTER, DETACH_FILTER = 26, 27  # SO_…, socket(7); the socket module has no names for them
# struct sock_filter of linux/filter.h: BPF_RET, that is, keep 0 bytes of each packet.
DROP = struct.pack("HBBI", 0x06, 0, 0, 0)
TAKE_SECONDS = 1.0  # for a queue to become empty that others still add to


def refuse_new(listener: socket.socket) -> None:
    """Have the kernel drop every attempt to connect; those that it has completed stay in the queue.

    It holds for all processes that share the socket. On a system without such filters nothing changes, and
    who connects at the last moment is cut off.
    """
    instructions = ctypes.create_string_buffer(DROP, len(DROP))
    program = struct.pack("HP", 1, ctypes.addressof(instructions))  # struct sock_fprog
    try:
        listener.setsockopt(socket.SOL_SOCKET, ATTACH_FILTER, program)
    except OSError as error:
        logger.info("callers may be cut off at the end: no filter on a socket (%s)", error.strerror)


def allow_new(listener: socket.socket) -> None:
    """Undo `refuse_new`."""
    with contextlib.suppress(OSError):  # nothing was refused
        listener.setsockopt(socket.SOL_SOCKET, DETACH_FILTER, 0)


async def take_queued(listener: socket.socket) -> None:
    """Return once the event loop has accepted whatever is queued at a socket that it listens on."""
    loop = asyncio.get_running_loop()
    queue = select.poll()
    queue.register(listener, select.POLLIN)
    late = loop.time() + TAKE_SECONDS
    while queue.poll(0) and loop.time() < late:  # noqa: ASYNC110 - the kernel has no event for an empty queue
        await asyncio.sleep(0)
    await asyncio.sleep(0)  # a connection that was accepted in one turn is made known in the next

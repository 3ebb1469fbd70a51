"""Several workers on one listening socket: started, replaced when they die, stopped together."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import FrameType

from serving.listening import refuse_new

FIRST_DELAY_S = 0.2  # before a dead worker is replaced; doubled for each that dies young
LAST_DELAY_S = 10.0
YOUNG_S = 30.0  # a worker that lived longer did not die of how it was started
LOOK_S = 0.1
EARLY_S = 0.05  # before the workers stop accepting, nobody new is let in


@dataclass
class _Slot:
    """The place of one worker."""

    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0  # one after another, all young
    due: float = 0.0  # time.monotonic() from which the next may be started


class Supervisor:
    """Keeps `workers` processes of `command` running until a signal."""

    def __init__(
        self,
        command: Sequence[str],
        workers: int,
        listener: socket.socket,
        stop_seconds: float,
        drain_seconds: float = 0.0,
    ) -> None:
        """`command` is told the listener's number by `--inherit`; after `stop_seconds` a worker is killed.

        Told to end, a worker goes on accepting for `drain_seconds`.
        """
        self._command, self._listener, self._stop_seconds = list(command), listener, stop_seconds
        self._drain_seconds = drain_seconds
        self._slots = [_Slot() for _ in range(workers)]
        self._changed = threading.Event()
        self._stopping = False
        # Never written to: that its other end closes tells a worker that we are gone, however we ended.
        self._lifeline, self._held = os.pipe()

    def run(self) -> int:
        """Start the workers and stay; 0 when all of them ended as they should after a signal."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            while not self._stopping:
                for slot in self._slots:
                    self._keep(slot)
                self._changed.wait(LOOK_S)
        finally:
            codes = self._end()
        return max((_lack(code) for code in codes), default=0)

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature signal asks for
        self._stopping = True
        self._changed.set()

    def _keep(self, slot: _Slot) -> None:
        now = time.monotonic()
        if slot.process is not None:
            code = slot.process.poll()
            if code is None:
                return
            slot.deaths = 1 if now - slot.started > YOUNG_S else slot.deaths + 1
            delay = min(LAST_DELAY_S, FIRST_DELAY_S * 2 ** (slot.deaths - 1))
            slot.due = now + delay
            how = f"signal {-code}" if code < 0 else f"code {code}"
            _say(f"worker {slot.process.pid} ended with {how}; another starts in {delay:g} s")
            slot.process = None
        if now >= slot.due:
            slot.process, slot.started = self._start(), now

    def _start(self) -> subprocess.Popen[bytes]:
        listener = self._listener.fileno()
        return subprocess.Popen(
            [*self._command, "--inherit", str(listener), str(self._lifeline)],
            stdin=subprocess.DEVNULL,
            pass_fds=(listener, self._lifeline),
            # Ctrl-C in a terminal is for us, who pass it on once.
            start_new_session=True,
        )

    def _end(self) -> list[int]:
        """Have every worker finish what it has in hand; their exit codes."""
        running = [slot.process for slot in self._slots if slot.process is not None]
        began = time.monotonic()
        deadline, last = began + self._stop_seconds, began + self._drain_seconds - EARLY_S
        if last <= began:
            refuse_new(self._listener)
        for process in running:
            process.terminate()
        while time.monotonic() < last and any(process.poll() is None for process in running):
            threading.Event().wait(min(LOOK_S, max(0.0, last - time.monotonic())))
        refuse_new(self._listener)  # before any worker closes it
        self._listener.close()
        codes = []
        for process in running:
            try:
                codes.append(process.wait(max(0.0, deadline - time.monotonic())))
            except subprocess.TimeoutExpired:
                _say(f"worker {process.pid} did not end within {self._stop_seconds:g} s and is killed")
                process.kill()
                codes.append(process.wait())
        os.close(self._held)
        os.close(self._lifeline)
        return codes


def _lack(code: int) -> int:
    """0 if a worker that was told to end did so with `code` as it should.

    Only one that is still starting dies of the signal itself: it had nothing in hand.
    """
    return 0 if code == -signal.SIGTERM else abs(code)


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)

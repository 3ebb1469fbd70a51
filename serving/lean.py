"""What the libraries of a server import for others, and this one does without.

It is memory of every worker, and a part of each start. What is left out stays out of this process alone:
`bentoml serve` imports all of it, and `benchmarks.serving.start` has both beside each other.
"""

import importlib
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType
from typing import Any, Self

# What their importers have a way to go on without: httpx's command line, uvicorn's reloading of changed code.
SPARED = ("httpx._main", "watchfiles")
# BentoML's, and the one name that is taken from each: the reverse proxy for programs of another kind, which
# brings a whole parser, and the supervisor of `bentoml serve`, which brings circus, tornado and zmq.
LATER = {"_bentoml_impl.server.proxy": "create_proxy_app", "_bentoml_impl.server.serving": "serve_http"}
# BentoML gives each service a client of itself, by which its methods may call each other. This one has no use
# for it, and it brings aiohttp.
CLIENT = "_bentoml_impl.client.proxy2"


class NoClient:
    """What stands in its place: nobody calls it."""

    to_async = to_sync = None

    def __init__(self, *_: Any, **__: Any) -> None:
        """Of whatever service."""

    async def __aenter__(self) -> Self:
        """Connect to nobody."""
        return self

    async def close(self) -> None:
        """There is nothing to close."""


def spare() -> None:
    """From now on import none of them, and `LATER` when it is called. Uvicorn and BentoML come after this."""
    for name in SPARED:
        if name not in sys.modules:
            sys.modules[name] = None  # type: ignore[assignment]  # an import then says that there is none
    for name, function in LATER.items():
        if name not in sys.modules:
            stand_in = ModuleType(name)
            stand_in.__dict__[function] = partial(_real, name, function)
            sys.modules[name] = stand_in
    if CLIENT not in sys.modules:
        stand_in = ModuleType(CLIENT)
        stand_in.__dict__["RemoteProxy"] = NoClient
        sys.modules[CLIENT] = stand_in


def _real(name: str, function: str, /, *arguments: Any, **named: Any) -> Any:
    """What the function of the module does, which is imported now."""
    del sys.modules[name]
    call: Callable[..., Any] = getattr(importlib.import_module(name), function)
    return call(*arguments, **named)

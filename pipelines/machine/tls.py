"""Who is believed behind https."""

import functools
import ssl

import httpx


@functools.cache
def authorities() -> ssl.SSLContext:
    """As httpx has them, read once: that takes 20 ms, which each `httpx.get` would spend, for http too."""
    return httpx.create_ssl_context(trust_env=False)

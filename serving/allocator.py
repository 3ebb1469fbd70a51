"""What the C library does with memory that a long request has freed.

glibc gives larger pieces back to the system at once, and each page of the next request costs a fault: with a
megabyte of body these took longer than parsing it.
"""

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
KEPT_BYTES = 16 * 1024 * 1024  # some requests of the longest kind: limits of `serving.http.bodies`
AHEAD_BYTES = 1024 * 1024


def give_back() -> bool:
    """Give the system what is free now, once; False where the C library cannot.

    For when a service is loaded: what that took is never asked for again.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is None:
        return False
    trim(0)
    return True


def keep_freed() -> bool:
    """Keep up to `KEPT_BYTES` of each heap for the next request; False where the C library cannot."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((_MMAP_THRESHOLD, KEPT_BYTES), (_TRIM_THRESHOLD, KEPT_BYTES), (_TOP_PAD, AHEAD_BYTES))
    return all(mallopt(name, size) for name, size in settings)

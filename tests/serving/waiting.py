"""Waiting for what other processes do, for as long as a slow and busy machine may need."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 600.0


def wait_until(look: Callable[[], T], *, message: Callable[[], object] = lambda: "") -> T:
    """Look until something true is seen, and give it.

    Args:
        look: Called again and again; raises to stop at once.
        message: Says what is there instead, when patience ends.
    """
    end = time.monotonic() + PATIENCE_S
    while not (seen := look()):
        assert time.monotonic() < end, message()
        time.sleep(0.05)
    return seen

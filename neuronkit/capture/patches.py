"""What torch.fx patches while it traces, kept to the thread that traces.

It replaces `__call__` and `__getattr__` of every module of the process. A module that another thread calls meanwhile
would be recorded in the graph, or give stand-ins of its parts; torch.export traces so, too.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from torch import fx


class _Here:
    """True in one thread."""

    def __init__(self) -> None:
        self._thread = threading.get_ident()

    def __bool__(self) -> bool:
        return threading.get_ident() == self._thread


@contextlib.contextmanager
def patched_here_alone() -> Iterator[None]:
    """Within, what torch.fx replaces is replaced in the thread that traces; one thread at a time may be within."""
    module: Any = fx._symbolic_trace
    patcher = module._Patcher
    patch_method = patcher.patch_method

    def patch(self: Any, cls: type, name: str, new: Callable[..., Any], deduplicate: bool = True) -> None:
        here, before = _Here(), getattr(cls, name)

        @functools.wraps(new)
        def chosen(*args: Any, **kwargs: Any) -> Any:
            return (new if here else before)(*args, **kwargs)

        patch_method(self, cls, name, chosen, deduplicate)
        # What torch.compile looks at, which refuses to be traced.
        if module._is_fx_tracing_flag:
            module._is_fx_tracing_flag = here

    try:
        patcher.patch_method = patch
        yield
    finally:
        patcher.patch_method = patch_method

"""Which line of the caller's code an operator comes from."""

from __future__ import annotations

import os
import re
import sys

import torch

_TORCH = os.path.dirname(torch.__file__) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# The code that traces is no part of a model; the rest of the package is.
_TRACING = tuple(os.path.join(_PACKAGE, name) + os.sep for name in ("targets", "analysis"))
_FRAME = re.compile(r"^(?P<file>.+)\((?P<line>\d+)\): (?P<function>\S+)", re.MULTILINE)


def user_line() -> str:
    """``file:line`` of the innermost running frame that is neither torch's nor the tracing code's."""
    frame = sys._getframe(1)
    while frame.f_back is not None and not is_user_file(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def line_of_range(source_range: str) -> str:
    """``file:line`` of the caller's innermost frame in a `torch._C.Node.sourceRange`; empty if it names none."""
    for frame in _FRAME.finditer(source_range):
        if is_user_file(frame["file"]):
            return f"{frame['file']}:{frame['line']}"
    return ""


def is_user_file(path: str) -> bool:
    """Whether a file holds a model's code, rather than torch's or the tracing code."""
    return not path.startswith((_TORCH, "<frozen", "<eval_with_key", *_TRACING))


def module_path(scope: str) -> str:
    """The submodule that a trace's scope names: ``"__module.a/__module.a.b"`` → ``"a.b"``."""
    return scope.rsplit("/", 1)[-1].partition(".")[2]

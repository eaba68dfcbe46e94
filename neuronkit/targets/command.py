"""The compiler's effective command line, and whether it compiled for the chip that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from neuronkit.targets.failure import failure
from neuronkit.targets.job import CALL, LOG, Job
from neuronkit.targets.log import compiler_logs, read_log

_TARGET = re.compile(r"""--target['"=, ]+([\w-]+)""")


def effective_command(directory: Path) -> str:
    """The SDK call, and the compiler's own command line where a log shows it."""
    call = (directory / CALL).read_text(encoding="utf-8")
    return next((f"{call}; {shown}" for shown in compiler_calls(directory)), call)


def compiler_calls(directory: Path) -> Iterator[str]:
    """Every command line of the compiler that the child's log, or the compiler's own files, show."""
    for path in (directory / LOG, *compiler_logs(directory)):
        yield from read_log(path).calls


def check_target(job: Job, compiler_args: Sequence[str], directory: Path) -> None:
    """Make sure that the compiler was called for the chip that was asked for: releases of 2024 ignored ``--target``.

    Only a command line that some log shows can tell; where none does, nothing is known and nothing is claimed.

    Raises:
        CompileError: If a command line names another chip, or none.
    """
    asked = _TARGET.findall(" ".join(compiler_args))
    for call in compiler_calls(directory) if asked else ():
        shown = _TARGET.findall(call)
        if asked[-1:] != shown[-1:]:
            found = f"--target {shown[-1]}" if shown else "no --target"
            raise failure(
                job,
                f"was compiled for another chip: asked for --target {asked[-1]}, the compiler was called with {found} "
                f"({call[:300]})",
                directory / LOG,
                hint="this release of the SDK ignores --target: update it, or compile for the chip that it takes "
                "(inf2 and trn1 run the same programs)",
            )

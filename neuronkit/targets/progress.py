"""Progress of a compile: a line on stderr, or any callback."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm

ProgressCallback = Callable[[str], None]
"""Called with the stage, in a few words. One with a method `detail` also gets progress within a stage."""


class Progress:
    """A `ProgressCallback` that shows the stage on one line.

    Args:
        show: Whether to write to stderr; None writes to a terminal only.
    """

    def __init__(self, show: bool | None) -> None:
        self._tells = show is None and sys.stderr.isatty()
        wanted = sys.stderr.isatty() if show is None else show
        # Even a disabled bar takes a lock that is shared with forked processes; one of them may have been killed.
        self._bar = tqdm(bar_format="compile: {desc} [{elapsed}]") if wanted else None

    def __call__(self, stage: str) -> None:
        if self._bar is not None:
            self._bar.set_description_str(stage, refresh=True)

    def detail(self, text: str) -> None:
        """Show progress within the stage."""
        self(text)

    def tell(self, lines: str) -> None:
        """Print the result on a terminal, unless the caller chose the output."""
        if self._tells:
            print(lines, file=sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def detail(progress: ProgressCallback | None, text: str) -> None:
    """Report progress within a stage; a plain function gets the stages alone."""
    show = getattr(progress, "detail", None)
    if show is not None:
        show(text)

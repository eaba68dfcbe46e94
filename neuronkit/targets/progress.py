"""What a compile says of itself while it runs."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm

ProgressCallback = Callable[[str], None]
"""Called with the stage, in a few words. One with a method `detail` is also told how a stage is getting on."""


class Progress:
    """A `ProgressCallback` that shows the stage on one line.

    Args:
        show: Whether to write to stderr; None writes to a terminal only.
    """

    def __init__(self, show: bool | None) -> None:
        wanted = sys.stderr.isatty() if show is None else show
        # Even a disabled bar takes a lock that is shared with forked processes; one of them may have been killed.
        self._bar = tqdm(bar_format="compile: {desc} [{elapsed}]") if wanted else None

    def __call__(self, stage: str) -> None:
        if self._bar is not None:
            self._bar.set_description_str(stage, refresh=True)

    def detail(self, text: str) -> None:
        """Show how a stage is getting on."""
        self(text)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


def detail(progress: ProgressCallback | None, text: str) -> None:
    """Tell how a stage is getting on; a plain function is told of stages alone."""
    show = getattr(progress, "detail", None)
    if show is not None:
        show(text)

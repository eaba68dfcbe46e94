"""What a compile says of itself while it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from neuronkit.targets.base import Report


class Progress:
    """One line whose text is the stage at hand; told a stage by calling it.

    Args:
        show: Whether to write to stderr; None writes to a terminal only.
    """

    def __init__(self, show: bool | None) -> None:
        wanted = sys.stderr.isatty() if show is None else show
        self._bar = tqdm(desc="compile", bar_format="{desc}: {postfix} [{elapsed}]", disable=not wanted)

    def __call__(self, stage: str) -> None:
        self._bar.set_postfix_str(stage, refresh=True)

    def detail(self, text: str) -> None:
        """Show how a stage is getting on."""
        self(text)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()


def detail(report: Report | None, text: str) -> None:
    """Tell how a stage is getting on, to a report that shows it: one that is a plain function hears of stages alone."""
    show = getattr(report, "detail", None)
    if show is not None:
        show(text)

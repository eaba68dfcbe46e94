"""BuildReport: what a build made, as a table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from neuronkit.report import Grid, Report, size

BUILT, CACHED, UNCHANGED, CHECKED, FAILED = "built", "from cache", "unchanged", "checked", "failed"


@dataclass(frozen=True)
class BuiltArtifact:
    """One line of the table.

    Attributes:
        name: Recipe, shape and target.
        target: The target.
        state: "built"; "from cache", if nothing had to be compiled; "unchanged", if the artifact was there already;
            "checked", if the target only checks; or "failed".
        seconds: How long it took.
        path: The artifact, None if there is none.
        bytes: Its size.
        error: The error's name and message, None if it did not fail.
        log: What the process printed, for an artifact that failed; None if no process was started.

    Examples:
        >>> neuronkit.build.BuiltArtifact("reader-cpu", "cpu", "built", 1.5, "out/reader-cpu.pt").state
        'built'
    """

    name: str
    target: str
    state: str
    seconds: float
    path: str | None = None
    bytes: int = 0
    error: str | None = None
    log: str | None = None

    def cells(self) -> list[str]:
        """Name, state, seconds, size, and the path or what went wrong."""
        where = self.path or ""
        if self.error:
            where = self.error.splitlines()[0] + (f" (log: {self.log})" if self.log else "")
        return [self.name, self.state, f"{self.seconds:.1f}", size(self.bytes) if self.path else "", where]


@dataclass(frozen=True, repr=False)
class BuildReport(Report):
    """What `build` made.

    Attributes:
        artifacts: One for each recipe, shape and target, in the build file's order.

    Examples:
        >>> neuronkit.build.BuildReport(()).failed
        ()
    """

    artifacts: tuple[BuiltArtifact, ...]

    @property
    def failed(self) -> tuple[BuiltArtifact, ...]:
        """Those that were not made."""
        return tuple(artifact for artifact in self.artifacts if artifact.state == FAILED)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {"artifacts": [dataclasses.asdict(artifact) for artifact in self.artifacts]}

    def parts(self) -> list[str | Grid]:
        """The lines and grids that are shown; artifacts that were not made are marked."""
        return [
            f"{len(self.artifacts) - len(self.failed)} of {len(self.artifacts)} artifacts are done",
            Grid(
                ["artifact", "state", "seconds", "size", "where"],
                [artifact.cells() for artifact in self.artifacts],
                numbers=frozenset((2, 3)),
                marked=frozenset(i for i, artifact in enumerate(self.artifacts) if artifact.state == FAILED),
            ),
        ]

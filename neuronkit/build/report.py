"""BuildReport: what a build made, as a table."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

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
    """

    name: str
    target: str
    state: str
    seconds: float
    path: str | None = None
    bytes: int = 0
    error: str | None = None
    log: str | None = None

    def __str__(self) -> str:
        said = f"{self.bytes / 1e6:.1f} MB  {self.path}" if self.path else ""
        if self.error:
            said = self.error.splitlines()[0] + (f"  (log: {self.log})" if self.log else "")
        return f"{self.name:<40} {self.state:<10} {self.seconds:8.1f} s  {said}".rstrip()


@dataclass(frozen=True)
class BuildReport:
    """What `build` made.

    Attributes:
        artifacts: One for each recipe, shape and target, in the build file's order.
    """

    artifacts: tuple[BuiltArtifact, ...]

    @property
    def failed(self) -> tuple[BuiltArtifact, ...]:
        """Those that were not made."""
        return tuple(artifact for artifact in self.artifacts if artifact.state == FAILED)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {"artifacts": [dataclasses.asdict(artifact) for artifact in self.artifacts]}

    def __str__(self) -> str:
        made = len(self.artifacts) - len(self.failed)
        return "\n".join([*map(str, self.artifacts), f"{made} of {len(self.artifacts)} are done"])

"""Which defaults of neuronx-cc changed between the release that built an artifact and the installed one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from neuronkit.targets.sdk.packages import distribution_version, numbers

COMPILER = "neuronx-cc"


@dataclass(frozen=True)
class ChangedDefault:
    """A default of neuronx-cc that a release changed.

    Attributes:
        since: The first release with the new default, such as "2.22".
        flags: The flags that set it; a command line with one of them does not depend on the default.
        before: The old default.
        after: The new one.
        source: Where it is announced.
    """

    since: str
    flags: tuple[str, ...]
    before: str
    after: str
    source: str

    def __str__(self) -> str:
        flag = self.flags[0]
        return f"{COMPILER} {self.since} changed {flag} from {self.before} to {self.after} ({self.source})"


CHANGES = (
    ChangedDefault("2.22", ("--auto-cast",), "matmult", "none", "release notes of SDK 2.27"),
    ChangedDefault(
        "2.22",
        ("--enable-mixed-precision-accumulation", "--disable-mixed-precision-accumulation"),
        "off",
        "on",
        "release notes of SDK 2.27",
    ),
    ChangedDefault("2.27", ("dot(one_hot, table)",), "a matrix product", "a gather", "release notes of SDK 2.32"),
    ChangedDefault("2.28", ("--native-int64",), "disabled", "enabled", "announced by SDK 2.32 for the next release"),
    ChangedDefault(
        "2.28", ("--implicit-integer-downcast",), "all", "none", "announced by SDK 2.32 for the next release"
    ),
)


def changed_defaults(built: Mapping[str, str], commands: Iterable[str]) -> tuple[ChangedDefault, ...]:
    """The changes between the compiler that built something and the one that is installed here.

    Args:
        built: Package → version, as the manifest has them.
        commands: The command lines it was built with; what they set does not depend on a default.

    Returns:
        The changes; none where either version is not known.
    """
    versions = built.get(COMPILER), distribution_version(COMPILER)
    if None in versions:
        return ()
    low, high = sorted(numbers(version) for version in versions if version is not None)
    text = " ".join(commands)
    return tuple(
        change
        for change in CHANGES
        if low < numbers(change.since) <= high and not any(flag in text for flag in change.flags)
    )

"""Which Neuron SDK is installed, and whether it fits torch and Python."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import torch

from neuronkit.errors import MissingDependencyError, MissingSDKError, NeuronCoreError

# AWS's own package index; the SDK wheels are not on PyPI.
NEURON_INDEX = "https://pip.repos.neuron.amazonaws.com"
_DRIVER_VERSION = Path("/sys/module/neuron/version")


def install_command(*requirements: str) -> str:
    """The pip command that installs these from AWS's index."""
    quoted = " ".join(f"'{r}'" if re.search(r"[<>*\[]", r) else r for r in requirements)
    return f"pip install --extra-index-url={NEURON_INDEX} {quoted}"


def import_sdk(
    module: str, target: str, command: str, error: type[MissingDependencyError] = MissingSDKError
) -> ModuleType:
    """Import a package that a target needs.

    Args:
        module: Its name.
        target: The target's.
        command: What installs it.
        error: What to raise.

    Raises:
        MissingDependencyError: As `error` says, if it is not installed or fails to import.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as found:
        if found.name is not None and found.name.partition(".")[0] == module:
            raise error(f"target {target!r} needs the package {module}, which is not installed. {command}") from found
        raise error(f"{module} is installed, but needs {found.name}: {found}. {command}") from found
    except Exception as found:  # A broken SDK raises anything, from ImportError to OSError for a missing library.
        raise error(f"{module} is installed but cannot be imported: {found}. {command}") from found


def check_framework(target: str, *, torch_versions: str, pythons: str, command: str) -> dict[str, str]:
    """Make sure that torch and Python are of releases for which the SDK has wheels.

    Args:
        target: Name of the target, for the message.
        torch_versions: First and last torch release, as ``"2.5-2.9"`` or a single one.
        pythons: First and last Python release.
        command: What installs a set that fits.

    Returns:
        Package → version.

    Raises:
        MissingSDKError: If one does not fit.
    """
    found = {"torch": torch.__version__, "python": platform.python_version()}
    wrong = []
    if not within(found["torch"], torch_versions):
        wrong.append(f"torch {found['torch']} (needs {torch_versions})")
    if not within(found["python"], pythons):
        wrong.append(f"Python {found['python']} (needs {pythons})")
    if wrong:
        raise MissingSDKError(
            f"the SDK of target {target!r} has no wheel for {' and '.join(wrong)}. In an environment of Python "
            f"{pythons.rpartition('-')[2]}: {command}"
        )
    return found


def within(version: str, span: str) -> bool:
    """Whether a version lies in ``"2.5-2.9"``, both ends with all their patch releases included."""
    first, _, last = span.partition("-")
    low, high = numbers(first), numbers(last or first)
    given = numbers(version)
    return low <= given[: len(low)] and given[: len(high)] <= high


def numbers(version: str) -> tuple[int, ...]:
    """``"2.9.0.2.15+abc"`` → (2, 9, 0, 2, 15)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def distribution_version(name: str) -> str | None:
    """The version of an installed distribution, without importing it; None if there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def driver_version() -> str | None:
    """The version of the loaded Neuron driver; None on a machine without one."""
    try:
        return _DRIVER_VERSION.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def visible_devices() -> list[str]:
    """The Neuron devices of this machine, such as ``["/dev/neuron0"]``."""
    if not sys.platform.startswith("linux"):
        return []
    return sorted(map(str, Path("/dev").glob("neuron[0-9]*")), key=lambda name: int(re.sub(r"\D", "", name)))


@contextlib.contextmanager
def taken_cores_explained() -> Iterator[None]:
    """Explain the runtime's error for cores that another process has.

    Raises:
        NeuronCoreError: In place of the runtime's own error.
    """
    try:
        yield
    except RuntimeError as error:
        if "NeuronCore" not in str(error) or "not available" not in str(error):
            raise
        raise NeuronCoreError(
            f"another process has the NeuronCores that this one needs ({error}). The runtime gives all cores to the "
            "first process unless NEURON_RT_VISIBLE_CORES names some: call neuronkit.serving.cores.claim_cores at the "
            "start of every worker"
        ) from error

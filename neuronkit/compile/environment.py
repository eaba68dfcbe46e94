"""describe_environment(): what is installed, what fits what, and which devices are visible."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from os import PathLike
from typing import Any

import torch

from neuronkit.artifact.loading import read_manifest
from neuronkit.errors import NeuronKitError
from neuronkit.report import Grid, Report
from neuronkit.targets import find_target, target_names
from neuronkit.targets.sdk.defaults import changed_defaults
from neuronkit.targets.sdk.packages import distribution_version, driver_version, visible_devices
from neuronkit.version import __version__

_PACKAGES = (
    "torch",
    "torchvision",
    "torch-xla",
    "torch-neuron",
    "neuron-cc",
    "torch-neuronx",
    "neuronx-cc",
    "onnx",
    "onnxruntime",
    "openvino",
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "pillow",
    "protobuf",
)


@dataclass(frozen=True, repr=False)
class EnvironmentReport(Report):
    """What is installed here, and which targets it can compile for.

    Attributes:
        neuronkit: Version of this library.
        python: Version of Python.
        platform: Operating system and machine.
        packages: Package → version, for those that are installed.
        driver: Version of the Neuron driver, None without one.
        devices: The Neuron devices of this machine.
        targets: Target → None where it can compile here, else what is missing and how to get it.
        changed_defaults: Which defaults of the installed compiler differ from those of the compiler that built the
            given artifact, where its command line does not set them.

    Examples:
        >>> neuronkit.describe_environment().packages["torch"] == torch.__version__
        True
    """

    neuronkit: str
    python: str
    platform: str
    packages: Mapping[str, str]
    driver: str | None
    devices: tuple[str, ...]
    targets: Mapping[str, str | None]
    changed_defaults: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            **asdict(self),
            "changed_defaults": list(self.changed_defaults),
            "packages": dict(self.packages),
            "targets": dict(self.targets),
        }

    def parts(self) -> list[str | Grid]:
        """The lines and grids that are shown."""
        missing = frozenset(i for i, why in enumerate(self.targets.values()) if why)
        return [
            f"neuronkit {self.neuronkit}, Python {self.python}, {self.platform}",
            Grid(["package", "version"], list(self.packages.items())),
            f"Neuron driver: {self.driver or 'none'}; devices: {', '.join(self.devices) or 'none'}",
            Grid(["target", "state"], [(name, why or "ready") for name, why in self.targets.items()], marked=missing),
            *(f"Not as when the artifact was built: {change}" for change in self.changed_defaults),
        ]


def describe_environment(artifact: str | PathLike[str] | None = None) -> EnvironmentReport:
    """Look at what is installed; for a bug report, or to see which targets can compile here.

    Args:
        artifact: Path of an artifact, to compare the compiler that built it with the installed one.

    Returns:
        A report that prints as a few lines; `EnvironmentReport.to_dict` is ready for JSON.

    Raises:
        ArtifactError: If the artifact cannot be read.

    Examples:
        >>> neuronkit.describe_environment().targets["cpu"] is None
        True
    """
    manifest = read_manifest(artifact) if artifact is not None else {"versions": {}, "commands": {}}
    found = {name: distribution_version(name) for name in _PACKAGES}
    packages = {name: version for name, version in found.items() if version is not None}
    packages["torch"] = torch.__version__
    return EnvironmentReport(
        neuronkit=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        packages=packages,
        driver=driver_version(),
        devices=tuple(visible_devices()),
        targets={name: _what_is_missing(name) for name in target_names()},
        changed_defaults=tuple(map(str, changed_defaults(manifest["versions"], manifest["commands"].values()))),
    )


def _what_is_missing(target: str) -> str | None:
    try:
        find_target(target).check_environment()
    except NeuronKitError as error:
        return str(error)
    return None

"""describe_environment(): what is installed, what fits what, and which devices are visible."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from neuronkit.errors import NeuronKitError
from neuronkit.targets import find_target, target_names
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
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "pillow",
    "protobuf",
)


@dataclass(frozen=True)
class EnvironmentReport:
    """What is installed here, and which targets it can compile for.

    Attributes:
        neuronkit: Version of this library.
        python: Version of Python.
        platform: Operating system and machine.
        packages: Package → version, for those that are installed.
        driver: Version of the Neuron driver, None without one.
        devices: The Neuron devices of this machine.
        targets: Target → None where it can compile here, else what is missing and how to get it.
    """

    neuronkit: str
    python: str
    platform: str
    packages: Mapping[str, str]
    driver: str | None
    devices: tuple[str, ...]
    targets: Mapping[str, str | None]

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {**asdict(self), "packages": dict(self.packages), "targets": dict(self.targets)}

    def __str__(self) -> str:
        lines = [f"neuronkit {self.neuronkit}, Python {self.python}, {self.platform}"]
        lines += [f"  {name:<24} {version}" for name, version in self.packages.items()]
        lines.append(f"Neuron driver: {self.driver or 'none'}; devices: {', '.join(self.devices) or 'none'}")
        lines.append("Targets:")
        lines += [f"  {name:<12} {why or 'ready'}" for name, why in self.targets.items()]
        return "\n".join(lines)


def describe_environment() -> EnvironmentReport:
    """Look at what is installed; for a bug report, or to see which targets can compile here.

    Returns:
        A report that prints as a few lines; `EnvironmentReport.to_dict` is ready for JSON.
    """
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
    )


def _what_is_missing(target: str) -> str | None:
    try:
        find_target(target).check_environment()
    except NeuronKitError as error:
        return str(error)
    return None

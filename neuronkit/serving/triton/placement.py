"""Which NeuronCores an instance of a model takes. Imports neither torch nor an SDK: either may start the runtime."""

from __future__ import annotations

import re
from collections.abc import Sequence

from neuronkit.errors import NeuronCoreError
from neuronkit.serving.cores import VISIBLE_CORES, describe_cores, format_cores, parse_cores

_GROUP = r"neuroncores_(\d+(?:-\d+)?)"


def group_name(cores: Sequence[int]) -> str:
    """Name of the instance group that takes these cores."""
    return f"neuroncores_{format_cores(cores)}"


def cores_in_config(text: str) -> set[int]:
    """The cores that a config.pbtxt gives to its instances."""
    return {core for found in re.findall(f'name: "{_GROUP}"', text) for core in parse_cores(found)}


def cores_of_instance(instance: str) -> str | None:
    """What NEURON_RT_VISIBLE_CORES is to be for an instance; None for one on the CPU.

    Numbers in a repository count the cores that the server was given: where its own NEURON_RT_VISIBLE_CORES, as a
    container's device plugin sets it, is 4-7, core 0 of the repository is core 4.

    Args:
        instance: Triton's name of it: that of its group, and a number.

    Raises:
        NeuronCoreError: If the server was given fewer cores.
        OptionError: If the server's own variable cannot be read.
    """
    found = re.fullmatch(rf"{_GROUP}_\d+", instance)
    if found is None:
        return None
    cores = parse_cores(found[1])
    given = describe_cores().cores
    if given is None:
        return format_cores(cores)
    if cores[-1] >= len(given):
        raise NeuronCoreError(
            f"instance {instance!r} takes core {cores[-1]} of those that the server was given, and "
            f"{VISIBLE_CORES}={format_cores(given)} gives it {len(given)}; give the server more, or export fewer "
            "instances"
        )
    return format_cores([given[core] for core in cores])

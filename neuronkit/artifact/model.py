"""CompiledModel: a compiled graph and its manifest, in one file that is whole or is not there."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from neuronkit.artifact.agreement import check_outputs
from neuronkit.artifact.destination import destination
from neuronkit.capture.serialize import save_script
from neuronkit.errors import ArtifactError, NeuronKitError, OptionError, SpecError
from neuronkit.interface import Interface
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.replicas import Replicas
from neuronkit.storage.atomic import replacing_file
from neuronkit.storage.sealed import MANIFEST, save_directory, seal_file
from neuronkit.targets import find_target
from neuronkit.targets.sdk.packages import taken_cores_explained


class CompiledModel:
    """What `compile_for_inferentia` gives: called like the model, saved to one file, loaded by `neuronkit.load`.

    Attributes:
        manifest: Everything known about it, as plain JSON types: format, role, target, versions, specs of inputs and
            outputs, ids of special tokens, options, operators, parity, the class and weights it was made of, processor
            settings.
        specs: Its inputs, in order.
        processor: The pre- and post-processor it was compiled with, or None.
    """

    def __init__(self, function: Callable[..., Any], manifest: Mapping[str, Any], processor: Any = None) -> None:
        self._function = function
        self._tried = False
        self.manifest = dict(manifest)
        self.specs = tuple(TensorSpec.from_dict(spec) for spec in manifest["inputs"])
        self.processor = processor
        graphs = {name: [TensorSpec.from_dict(spec) for spec in specs] for name, specs in manifest["graphs"].items()}
        self._run = find_target(manifest["target"]).accelerate(function, graphs)

    @property
    def interface(self) -> Interface:
        """What it is for, what its outputs mean, and which ids its special tokens have."""
        return Interface.from_manifest(self.manifest)

    @property
    def role(self) -> str:
        """What it is for: "detector", "recognizer", "seq2seq" or "other"; see `neuronkit.interface.Interface`."""
        return self.interface.role

    @property
    def output_specs(self) -> tuple[TensorSpec, ...]:
        """Name, shape and dtype of every output, in order; nested outputs are listed from first to last."""
        return tuple(TensorSpec.from_dict(spec) for spec in self.manifest["outputs"])

    def __call__(self, *inputs: Tensor) -> Any:
        """Run the compiled graph.

        Args:
            *inputs: Tensors exactly as `specs` say.

        Returns:
            What the original model returns.

        Raises:
            SpecError: If the number, a shape or a dtype differs.
            ArtifactError: If the first call fails, or gives something else than the manifest says.
            NeuronCoreError: If another process has the cores.
        """
        if len(inputs) != len(self.specs):
            raise SpecError(f"got {len(inputs)} inputs, expected {len(self.specs)}: {', '.join(map(str, self.specs))}")
        for spec, tensor in zip(self.specs, inputs):
            if not isinstance(tensor, Tensor):
                raise SpecError(
                    f"{spec.name}: got {type(tensor).__name__}, expected a tensor; use torch.as_tensor(...)"
                )
            spec.check(tensor)
        if self._tried:
            with torch.no_grad(), taken_cores_explained():
                return self._run(*inputs)
        return self._first_call(inputs)

    def _first_call(self, inputs: Sequence[Tensor]) -> Any:
        """Run it, and compare the graph with the manifest."""
        try:
            with torch.no_grad(), taken_cores_explained():
                outputs = self._run(*inputs)
        except NeuronKitError:
            raise
        except RuntimeError as error:
            raise ArtifactError(
                f"the graph fails on inputs as its manifest says ({', '.join(map(str, self.specs))}): {error}. Compile "
                "it again, if their values are such that the original model takes them"
            ) from error
        if "outputs" in self.manifest:
            check_outputs(outputs, self.manifest)
            self._tried = True
        return outputs

    def replicate(self, copies: int) -> Replicas:
        """Spread batches over several cores of this machine, in one process.

        On Neuron this is the SDK's DataParallel, one copy a core; on the CPU, threads that share the weights. Unlike
        either SDK's own, it takes any number of rows: the last batches are filled up and cut off.

        Args:
            copies: How many batches to compute at once: on Neuron, of the cores that this process may use.

        Returns:
            A callable that takes what the model takes, with any number of rows, and can stand in its place in an
            `OCRPipeline`.

        Raises:
            OptionError: If `copies` is no positive integer, the model spans several cores by itself, or the target
                cannot place copies.
            SpecError: If its inputs have no common number of rows.
        """
        if not isinstance(copies, int) or isinstance(copies, bool) or copies < 1:
            raise OptionError(f"copies={copies!r}: expected a positive integer")
        spans = self.manifest["options"]["neuroncores"] or 1
        if copies > 1 and spans > 1:
            raise OptionError(
                f"one copy spans {spans} cores already, and DataParallel takes models of one core; "
                "compile with neuroncores=1, or run one process for each copy"
            )
        with taken_cores_explained():
            functions = find_target(self.manifest["target"]).replicate(self._run, copies)
        return Replicas(functions, self.specs, copies=copies, processor=self.processor)

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the artifact, whole or not at all.

        The file is a TorchScript archive that plain `torch.jit.load` opens too; for TorchNeuron it is a directory with
        the compile cache. An earlier artifact is replaced at once, at the end; nothing else is ever replaced. Symbolic
        links are followed. What earlier calls for the same path left, when they were killed, is removed.

        Args:
            path: A new path in an existing directory, or that of an earlier artifact.

        Returns:
            The path, as given.

        Raises:
            ArtifactError: If the target makes nothing that can be saved; if something other than an artifact is at
                `path`; or if it cannot be written.
        """
        target, function = find_target(self.manifest["target"]), self._function
        if target.saves_directory:
            found = destination(path, directory=True)
            save_directory(found, self.manifest, lambda directory: target.save_directory(function, directory))
            return Path(path)
        if not isinstance(function, torch.jit.ScriptModule):
            raise ArtifactError(
                f"target {self.manifest['target']!r} only checks; what it makes lives in this process and cannot be "
                "saved. Compile for 'cpu' or a Neuron target to get an artifact"
            )
        found = destination(path, directory=False)
        try:
            with replacing_file(found) as work:
                save_script(function, work, {MANIFEST: json.dumps(self.manifest)})
                seal_file(work)
        except (OSError, RuntimeError) as error:
            raise ArtifactError(
                f"{shown(path)}: was not written ({error}); free some space or choose another directory"
            ) from error
        return Path(path)

    def __repr__(self) -> str:
        inputs = ", ".join(map(str, self.specs))
        return f"CompiledModel({self.manifest['family']} for {self.manifest['target']}, {inputs})"

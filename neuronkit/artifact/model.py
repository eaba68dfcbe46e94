"""CompiledModel: a compiled graph and its manifest, in one file that is whole or is not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import artifact, checks
from neuronkit.artifact.consistency import check_outputs
from neuronkit.artifact.generation import Generation
from neuronkit.artifact.inputs import by_name, check_ids, check_inputs, of_any_rows
from neuronkit.artifact.manifest import greatest_differences
from neuronkit.artifact.saving import write_artifact
from neuronkit.artifact.weights import replace_weights
from neuronkit.errors import ArtifactError, NeuronKitError, OptionError, SpecError
from neuronkit.interface import Interface, a_role
from neuronkit.report import described
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.decoding.methods import carry_of_joining
from neuronkit.static.shapes.canvas import padded_size
from neuronkit.static.shapes.checks import check_valid_size
from neuronkit.static.shapes.fixed import VALID_SIZE, VALID_WIDTH
from neuronkit.static.shapes.refused import RefusedSizes
from neuronkit.static.shapes.replicas import Replicas
from neuronkit.static.shapes.rows import Carry, RowStream
from neuronkit.targets import find_target
from neuronkit.targets.sdk.packages import taken_cores_explained

# What torch and ONNX Runtime say of lookups. Only what is looked up as it is given is checked before.
_BEYOND_TABLE = re.compile(r"index out of range in self|indices element out of data bounds")


class CompiledModel:
    """A model that `compile_for_inferentia` made: called like the original, saved to one file, read by `load`.

    Attributes:
        manifest: Everything known about it, as plain JSON types: format, role, target, versions, specs of inputs and
            outputs, ids of special tokens, options, operators, parity, the class and weights it was made of, processor
            settings.
        specs: Its inputs, in order.
        processor: The pre- and post-processor it was compiled with, or None.
        training: False; it computes as in eval mode.
        carry: For a model with ``method="fused"``, how its rows go on; None for any other.

    It takes the place of an `nn.Module` in code that calls one: inputs by name, `eval()`, ``to("cpu")``; what a
    compiled graph cannot do is an error that says so. It pickles by the path where it was saved or loaded last.

    Examples:
        >>> model = neuronkit.compile_for_inferentia(torch.nn.ReLU(), torch.zeros(2, 3), target="cpu")
        >>> model(torch.full((2, 3), -1.0)).sum(), model.specs[0].shape
        (tensor(0.), (2, 3))
    """

    training = False

    def __init__(
        self,
        function: Callable[..., Any],
        manifest: Mapping[str, Any],
        processor: Any = None,
        *,
        graphs: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._function = function
        # What `function` joins, where it is more than one.
        self._graphs = graphs or {name: function for name in manifest["graphs"]}
        self._tried = False
        self.manifest = dict(manifest)
        self.specs = tuple(TensorSpec.from_dict(spec) for spec in manifest["inputs"])
        self.processor = processor
        name, inputs = next(iter(manifest["graphs"].items()))
        self._graph_specs = [TensorSpec.from_dict(spec) for spec in inputs]
        self._graph: Any = getattr(self._function, name, None)
        self.carry = carry_of_joining(manifest.get("joining")) if callable(self._graph) else None
        outputs = manifest.get("outputs", ())
        self._valid_sizes = sorted({output["valid"]["input"] for output in outputs if output["valid"]})
        self._refused = RefusedSizes.from_manifest(manifest)
        self._path: Path | None = None

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

    @property
    def valid_output_sizes(self) -> Callable[[Tensor], tuple[Tensor | None, ...]]:
        """Function from valid sizes (N, 2) int32, (height, width) in pixels, or widths (N,) int32, to those of each
        output, (N, 2) or (N, 1); None where all of it is meaningful. Of a single output it gives that one alone.
        `FixedShape` calls it. There is none where no output depends on a valid size: AttributeError.
        """
        areas = [output.valid for output in self.interface.outputs]
        widths = {VALID_SIZE: 2, VALID_WIDTH: 1}
        if not any(area is not None and widths.get(area.input) == len(area.axes) for area in areas):
            raise AttributeError("valid_output_sizes: no output of this model depends on a valid size")

        def sizes(valid: Tensor) -> Any:
            columns = valid.reshape(len(valid), -1)
            found = [None if area is None else area.size(columns) for area in areas]
            return found[0] if len(found) == 1 else tuple(found)

        return sizes

    @cached_property
    def generate(self) -> Generation:
        """`generate` of an encoder–decoder; `Generation` says how it is called. A model that generates no tokens has no
        such attribute.
        """
        return Generation(self, self.specs, self.interface)

    def check_sizes(self, valid_size: Tensor) -> None:
        """Refuse sizes on which the original model cannot run; `FixedShape` and every call check valid sizes with it.

        Args:
            valid_size: (N, 2) integers, (height, width) in pixels; or (N,), widths, where the model takes those.

        Raises:
            SpecError: If there is such a size, or `valid_size` is no such tensor, or beyond the canvas.
        """
        if self._refused is not None:
            (shape,) = (spec.shape for spec in self.specs if spec.name == self._refused.input)
            largest = padded_size(self.specs[0].shape)[-2 if len(shape) == 2 else -1 :]
            self._refused.check(check_valid_size(self._refused.input, valid_size, largest))

    def __call__(self, *inputs: Tensor, **named: Tensor) -> Any:
        """Run the compiled graph.

        A model with ``method="fused"`` takes any number of rows: those that one batch does not settle ride in free
        rows of the next.

        Args:
            *inputs: Tensors exactly as `specs` say, on the CPU.
            **named: Inputs by the names that `specs` give them, in place of or after those in order.

        Returns:
            What the original model returns.

        Raises:
            SpecError: If an input is missing or unknown; if a shape, a dtype or a device differs; or if a valid size
                is not within the image, or one on which the original model cannot run; or
                if an id is outside the vocabulary, or the table that the model looks it up in.
            ArtifactError: If the first call fails, or gives something else than the manifest says.
            NeuronCoreError: If another process has the cores.
        """
        checked = self._bound(inputs, named)
        if self.carry is not None:
            return RowStream(self.step, self.specs[0].shape[0], self.carry)(*checked)
        return self._guarded(self._function, checked)

    def step(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Run the graph of a model with ``method="fused"`` once, on a batch.

        Args:
            *inputs: As `specs` say, then ``start`` (N, T) int32: tokens to go on from, -1 for a row that begins.

        Returns:
            Logits (N, T, C) and tokens (N, T) int32, or tokens and probabilities; and ``settled`` (N,) int32, 0 where a
            row has to go on.

        Raises:
            SpecError: If an input does not fit.
            OptionError: If the model has no such graph.
        """
        if self.carry is None:
            raise OptionError('got step() of a model that settles all rows itself; expected method="fused"; call it')
        *given, start = inputs
        self._graph_specs[-1].check(start)
        bound = self._bound(given, {})
        if len(bound[0]) != len(start):
            raise SpecError(
                f"got {len(bound[0])} rows and start of {len(start)}; expected as many; give one for each row"
            )
        outputs: tuple[Tensor, ...] = self._guarded(self._graph, (*bound, start), self.carry)
        return outputs

    forward = __call__

    def _bound(self, inputs: Sequence[Any], named: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """The inputs in the order of `specs`, each checked; of any number of rows where rows go on."""
        given = by_name(self.specs, inputs, named)
        specs = self.specs if self.carry is None else of_any_rows(self.specs, given)
        check_inputs(specs, given, self._valid_sizes, self.manifest)
        if self._refused is not None:
            self.check_sizes(given[self._refused.input])
        return tuple(given[spec.name] for spec in self.specs)

    def _with_ids_checked(self, function: Any, *inputs: Tensor) -> Any:
        check_ids({spec.name: x for spec, x in zip(self.specs, inputs)}, self.manifest)
        return function(*inputs)

    def _guarded(self, function: Any, inputs: Sequence[Tensor], carry: Carry | None = None) -> Any:
        """Run a function, and compare the outputs of the first call with the manifest."""
        try:
            with torch.no_grad(), taken_cores_explained():
                outputs = function(*inputs)
        except NeuronKitError:
            raise
        except RuntimeError as error:
            if _BEYOND_TABLE.search(str(error)):
                raise SpecError(
                    f"the graph looks up a number that it computes of {', '.join(map(str, self.specs))}, and which is "
                    "not in its table; give values that the original model takes"
                ) from error
            if self._tried:
                raise
            raise ArtifactError(
                f"the graph fails on inputs as its manifest says ({', '.join(map(str, self.specs))}): {error}. Compile "
                "it again, if their values are such that the original model takes them"
            ) from error
        if not self._tried and "outputs" in self.manifest:
            check_outputs(outputs if carry is None else carry.split(outputs)[0], self.manifest)
            self._tried = True
        return outputs

    def replace_weights(self, model: nn.Module) -> None:
        """Take the weights of another model of the same structure, without compiling again.

        For artifacts compiled for "inf2", "trn1" or "trn2" with ``CompileOptions(inline_weights=False)``; the call is
        `torch_neuronx.replace_weights`. `save` then writes the new weights.

        Args:
            model: What was compiled, with other weights: a `StaticModel` of the same options, or a plain module. It is
                not changed.

        Raises:
            OptionError: If the weights are inside the program, or the target cannot replace them.
            SpecError: If the model has another structure: other graphs, or weights of other names, shapes or dtypes.
            MissingSDKError: If the SDK is not installed.
        """
        self.manifest.update(replace_weights(self._function, self.manifest, model))

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
            OptionError: If `copies` is not a whole number from 1 to 1024, the model spans several cores by itself, or
                the target cannot place copies.
            SpecError: If its inputs have no common number of rows.
        """
        copies = checks.integer("copies", copies, 1, 1 << 10)
        spans = self.manifest["options"]["neuroncores"] or 1
        if copies > 1 and spans > 1:
            raise OptionError(
                f"one copy spans {spans} cores already, and DataParallel takes models of one core; "
                "compile with neuroncores=1, or run one process for each copy"
            )
        function, specs = (self._function, self.specs) if self.carry is None else (self._graph, self._graph_specs)
        with taken_cores_explained():
            functions = find_target(self.manifest["target"]).replicate(function, copies)
        if any(self.manifest.get(f"{kind}_ranges") for kind in ("input", "column")):
            functions = [partial(self._with_ids_checked, function) for function in functions]
        if self._refused is not None:
            functions = [_with_check(function, self.check_sizes) for function in functions]
        replicas = Replicas(functions, specs, copies=copies, processor=self.processor, carry=self.carry)
        replicas._origin = self
        return replicas

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the artifact, whole or not at all.

        The file is a TorchScript archive that plain `torch.jit.load` opens too. For "onnx" and "openvino" it is a
        directory with an ONNX file a graph and one of weights, for TorchNeuron one with the compile cache. An earlier
        artifact is replaced at once, at the end; nothing else is ever replaced. Symbolic links are followed. What
        earlier calls for the same path left, when they were killed, is removed.

        Args:
            path: A new path in an existing directory, or that of an earlier artifact.

        Returns:
            The path, as given.

        Raises:
            ArtifactError: If the target makes nothing that can be saved; if something other than an artifact is at
                `path`; or if it cannot be written.
        """
        self._path = write_artifact(path, self._function, self._graphs, self.manifest)
        return Path(path)

    def eval(self) -> CompiledModel:
        """Give the model itself: it computes as in eval mode."""
        return self

    def train(self, mode: bool = True) -> CompiledModel:
        """Give the model itself where `mode` is False.

        Raises:
            OptionError: If it is True: a compiled model cannot be trained.
        """
        if checks.flag("mode", mode):
            raise OptionError("got train(); expected eval(): a compiled model cannot be trained; train the original")
        return self

    def to(self, device: Any = "cpu") -> CompiledModel:
        """Give the model itself for the CPU, where its inputs and outputs are.

        Raises:
            OptionError: For another device, or a dtype: both are fixed when a model is compiled.
        """
        if not isinstance(device, (str, torch.device)) or str(device) not in ("cpu", "cpu:0"):
            raise OptionError(
                f"got to({shown(device)}); expected to('cpu'), where inputs and outputs are: what computes, and in "
                "which type, is fixed when a model is compiled; compile for another target, or with another dtype"
            )
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or not hasattr(torch.nn.Module, name):
            raise AttributeError(f"CompiledModel has no attribute {name!r}")
        raise AttributeError(
            f"CompiledModel has no attribute {name!r}: its weights and layers are inside the compiled graph; use the "
            "original model for that, and compile it again"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by path: a graph that a chip runs cannot travel, its file can be loaded again.

        Raises:
            ArtifactError: If it was neither saved nor loaded.
        """
        if self._path is None:
            raise ArtifactError(
                f"got a {self._title} to pickle, which has no file; expected one that was saved or loaded; call "
                "save(path) first: it pickles as that path, which must be the same where it is unpickled"
            )
        return artifact.load, (str(self._path),), self.manifest

    def __setstate__(self, manifest: dict[str, Any]) -> None:
        if self.manifest != manifest:
            raise ArtifactError(
                f"{shown(self._path)}: holds another artifact than when the model was pickled; pickle it again, or "
                "load it with neuronkit.load"
            )

    @property
    def _title(self) -> str:
        role = a_role(self.manifest["role"])
        return f"CompiledModel of {self.manifest['family']} for target {self.manifest['target']!r}{role}"

    def summary(self) -> str:
        """Say in three lines what this is, how it was compared with its original, and where to go from here.

        Returns:
            The lines, which `compile_for_inferentia` shows on a terminal.

        Examples:
            >>> print(neuronkit.load("recognizer.pt").summary())
        """
        compared = "".join(self._compared()) or "with nothing here"
        user = f"OCRPipeline takes it as its {self.role}" if self.processor is not None else "call it as the original"
        saved = "save(path) keeps it for load and neuronkit show"
        return f"{self._title}\n  compared  {compared}\n  next      {user}; {saved}"

    def _compared(self) -> list[str]:
        worst = [f"{stage} {value:.1e}" for stage, value in greatest_differences(self.manifest).items()]
        return [f"greatest difference from the original: {', '.join(worst)}"] if worst else []

    def __repr__(self) -> str:
        return described(
            self._title,
            takes=map(str, self.specs),
            gives=map(str, self.output_specs),
            compared=self._compared(),
            processor=[type(self.processor).__name__] if self.processor is not None else [],
            file=[str(self._path)] if self._path is not None else [],
        )


def _with_check(function: Callable[..., Any], check: Callable[[Tensor], None]) -> Callable[..., Any]:
    """The function, whose methods about sizes `FixedShape` calls."""
    checked = partial(function)
    checked.check_sizes = check  # type: ignore[attr-defined]
    return checked

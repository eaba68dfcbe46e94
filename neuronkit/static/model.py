"""StaticModel: what an adapter makes and a target compiles."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit import checks, tensors
from neuronkit.capture.lookups import find_lookups
from neuronkit.capture.onnx import name_outputs
from neuronkit.capture.tracing import capturing
from neuronkit.errors import SpecError, UnknownModelError
from neuronkit.interface import Interface, a_role
from neuronkit.report import described
from neuronkit.shown import shown
from neuronkit.specs import TensorSpec
from neuronkit.static.original import detached_copy, eval_mode, failures_named, quantised_modules, unwrap
from neuronkit.static.raw import RawImages
from neuronkit.static.shapes.refused import RefusedSizes

Graphs = dict[str, tuple[nn.Module, tuple[TensorSpec, ...]]]


class StaticModel(RawImages, nn.Module, ABC):
    """A dynamic model rewritten in fixed shapes, computing what the original computes.

    The original is shared, not copied and not registered: an optimizer step on it shows at once, while `train()`,
    `to()` or `state_dict()` of the static model leave it alone.

    Attributes:
        family: Name of the model family, for manifests and messages.
        original: The caller's model, as given.
        specs: The inputs, in order.
        joining: How the graphs are joined, as data with a ``to_dict()`` for the manifest; None for a single graph, and
            where Python code joins them.

    Raises:
        SpecError: If the original holds quantised modules.

    Examples:
        >>> static = neuronkit.make_static(parseq, batch_size=2)
        >>> isinstance(static, neuronkit.StaticModel), sorted(static.graphs())
        (True, ['decode', 'encode'])
    """

    family: str
    specs: tuple[TensorSpec, ...]
    original: nn.Module
    joining: Any = None

    @property
    def interface(self) -> Interface:
        """What the model is for, and what its outputs mean; the manifest of an artifact holds it."""
        return Interface()

    @property
    def input_ranges(self) -> dict[str, tuple[int, int]]:
        """Name of an input of ids → (lowest, highest) of the original's vocabulary."""
        return {}

    @property
    def column_ranges(self) -> dict[str, dict[int, tuple[int, int]]]:
        """Name of an input, some columns of whose last dimension are ids → column → (lowest, highest)."""
        return {}

    @property
    def refused_sizes(self) -> RefusedSizes | None:
        """Sizes of images on which the original cannot run, where valid sizes are an input; None if there are none."""
        return None

    def __init__(self, original: nn.Module, specs: Sequence[TensorSpec]) -> None:
        super().__init__()
        self.__dict__["original"] = original
        quantised = [] if isinstance(self, PlainModel) else quantised_modules(self.source)
        if quantised:
            more = f" and {len(quantised) - 5} more" if len(quantised) > 5 else ""
            raise SpecError(
                f"got a {type(self.source).__name__} with quantised modules ({', '.join(quantised[:5])}{more}), whose "
                "results depend on the whole batch, so that no rewrite agrees with them; expected the model as it was "
                "before it was quantised; give that, and let the target choose its precision "
                "(CompileOptions(auto_cast=...))"
            )
        self.specs = tuple(specs)

    def __repr__(self) -> str:
        outputs = (output.name for output in self.interface.outputs)
        graphs = self.graph_specs()
        return described(
            f"{type(self).__name__} of {type(self.source).__name__}{a_role(self.interface.role)}",
            takes=map(str, self.specs),
            gives=outputs,
            graphs=graphs if len(graphs) > 1 else (),
        )

    @property
    def source(self) -> Any:
        """The original without the wrappers of distributed training and torch.compile."""
        return unwrap(self.original)

    def forward(self, *inputs: Tensor) -> Any:
        """Compute eagerly, with the original's weights of this moment and as in eval mode.

        Args:
            inputs: As `specs` say, with any number of rows.

        Raises:
            SpecError: If they do not fit.
        """
        inputs = self.check_inputs(inputs)
        with eval_mode(self.source):
            return self.join(self.live_graphs(self.source))(*inputs)

    def check_inputs(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Check that there is a tensor for each of `specs`, of its shape but for the number of rows.

        Returns:
            The inputs, as plain tensors.

        Raises:
            SpecError: If one does not fit; the message says how it is made to.
        """
        given = checks.items("inputs", inputs, "tensors", error=SpecError)
        return tensors.inputs(given, self.specs)

    def reference(self, *inputs: Tensor) -> Any:
        """Run the untouched original on the same inputs, in eval mode, without gradients.

        Raises:
            SpecError: If the inputs do not fit.
        """
        inputs = self.check_inputs(inputs)
        with eval_mode(self.source), torch.no_grad():
            return self.as_outputs(self.run_original(self.source, *self.normalized(inputs)))

    def live_graphs(self, source: nn.Module) -> dict[str, nn.Module]:
        """The graphs' modules on the live weights of `source`, as `specs` and `graph_specs` say."""
        modules = self.modules_by_name(source)
        return modules if self.normalization is None else self.with_raw_images(modules, self.graph_specs())

    def for_target(self, *, is_neuron: bool) -> StaticModel:
        """The model as a target compiles it: what its options leave open is settled here.

        Args:
            is_neuron: Whether the target's graphs run on Neuron devices.

        Raises:
            OptionError: If `is_neuron` is not a bool.
        """
        checks.flag("is_neuron", is_neuron)
        return self

    def smaller(self) -> StaticModel:
        """The same rewrite of the same model for smaller inputs, where size changes nothing but how long it takes.

        Verification compares it in place of this one on most inputs. Itself where there is none.
        """
        return self

    def graphs(self, rules: str = "any") -> Graphs:
        """The graphs that a target compiles, without loop or branch: name → (module, its input specs).

        The modules hold a copy of the weights, on the CPU and in eval mode, with everything folded that depends on
        weights alone.

        Args:
            rules: Whose operators the target takes, `Target.rules`. Parts that compute in several forms take the one
                that suits it.
        """
        specs, names = self.graph_specs(), self.graph_outputs()
        graphs: Graphs = {}
        for name, live in self.live_graphs(self.source).items():
            module = detached_copy(live)
            for part in list(module.modules()):
                if isinstance(part, Foldable):
                    part.suit(rules)
                    part.fold()
            graphs[name] = (module, specs[name])
            name_outputs(module, names.get(name, ()))
        return graphs

    def graph_outputs(self) -> Mapping[str, tuple[str, ...]]:
        """Graph → names of its outputs, for targets that name them; those of the model where there is one graph."""
        graphs = self.graph_specs()
        return {name: tuple(output.name for output in self.interface.outputs) for name in graphs if len(graphs) == 1}

    def assemble(self, compiled: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
        """Join compiled graphs into one callable that takes `specs`.

        Gives a TorchScript module where every graph is one, a plain callable otherwise.

        Raises:
            SpecError: If `compiled` does not hold a callable for each of `graphs`.
        """
        if not isinstance(compiled, Mapping):
            raise SpecError(f"got compiled={shown(compiled)}; expected a callable for each graph; give them by name")
        for name, graph in compiled.items():
            checks.callable_(f"compiled[{name!r}]", graph, error=SpecError)
        try:
            joined = self.join(compiled)
        except (KeyError, ValueError) as error:
            raise SpecError(
                f"got compiled={shown(compiled)}; expected a callable for each of graphs(), by name; give all of them"
            ) from error
        if isinstance(joined, torch.jit.ScriptModule) or not all(
            isinstance(c, torch.jit.ScriptModule) for c in compiled.values()
        ):
            return joined
        # Newer torch warns of TorchScript, which the caller did not choose.
        with capturing():
            return torch.jit.script(joined)  # type: ignore[no-any-return]

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """Random inputs that fit `specs`, for tracing and parity.

        Raises:
            SpecError: If `seed` is not a whole number of 63 bits.
        """
        seed = checks.integer("seed", seed, -(1 << 63), (1 << 63) - 1, error=SpecError)
        return tuple(spec.example(seed + i) for i, spec in enumerate(self.specs))

    @contextlib.contextmanager
    def failures_named(self) -> Iterator[None]:
        """Say which inputs the model was called with when its own code fails on them.

        Raises:
            SpecError: In place of any error that is not the library's own.
        """
        with failures_named(type(self.source).__name__, ", ".join(map(str, self.specs))):
            yield

    def meaningful(self, outputs: Any, inputs: Sequence[Tensor]) -> Any:
        """The outputs with every entry that carries no meaning set to zero, so that two runs can be compared."""
        return outputs

    @abstractmethod
    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        """The graphs' modules, computing from the live weights of `source`."""

    @abstractmethod
    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        """Input specs of each graph."""

    @abstractmethod
    def run_original(self, source: nn.Module, *inputs: Tensor) -> Any:
        """Call the original so that its outputs line up with those of `forward`."""

    def as_outputs(self, outputs: Any) -> Any:
        """The result of `run_original` in the form of the static model's outputs."""
        return outputs

    def join(self, graphs: Mapping[str, Callable[..., Any]]) -> Callable[..., Any]:
        """Connect the graphs; a model of one graph is that graph."""
        (graph,) = graphs.values()
        return graph


class PlainModel(StaticModel):
    """A model that is static already, compiled as it is.

    Args:
        model: Any module whose graph does not depend on its inputs' values.
        inputs: Its inputs, in order: tensors, or specs where any values will do.
    """

    family = "plain"

    def __init__(self, model: nn.Module, inputs: Sequence[Tensor | TensorSpec]) -> None:
        named = enumerate(inputs)
        specs = [x if isinstance(x, TensorSpec) else TensorSpec.of(f"input_{i}", x) for i, x in named]
        # A model may have examples of its own that it can run on, such as sizes within its canvas.
        examples = getattr(unwrap(model), "with_examples", tuple)(specs)
        super().__init__(model, [_in_domain(spec, given) for spec, given in zip(examples, inputs)])
        self._given = tuple(inputs)

    def example_inputs(self, seed: int = 0) -> tuple[Tensor, ...]:
        """The tensors that the caller gave, and random ones for specs, which may lie outside the model's domain."""
        return tuple(
            given
            if isinstance(given, Tensor) and not given.is_meta and given.dtype == spec.torch_dtype
            else spec.example(seed + i)
            for i, (given, spec) in enumerate(zip(self._given, self.specs))
        )

    @property
    def input_ranges(self) -> dict[str, tuple[int, int]]:
        """Inputs that the model looks up in tables as they are."""
        return {self.specs[i].name: ids for (i, column), ids in self._lookups.items() if column is None}

    @property
    def column_ranges(self) -> dict[str, dict[int, tuple[int, int]]]:
        """Columns of inputs that the model looks up in tables as they are."""
        found: dict[str, dict[int, tuple[int, int]]] = {}
        for (i, column), ids in self._lookups.items():
            if column is not None:
                found.setdefault(self.specs[i].name, {})[column] = ids
        return found

    @cached_property
    def _lookups(self) -> Mapping[tuple[int, int | None], tuple[int, int]]:
        with eval_mode(self.source):
            return find_lookups(self.source, self.example_inputs())

    @property
    def refused_sizes(self) -> RefusedSizes | None:
        """Those of a module made by `exact_padding`; None for any other."""
        known = getattr(self.source, "refused_sizes", None)
        return known(self.specs) if callable(known) else None

    def modules_by_name(self, source: nn.Module) -> dict[str, nn.Module]:
        return {"main": source}

    def graph_specs(self) -> dict[str, tuple[TensorSpec, ...]]:
        return {"main": self.specs}

    def run_original(self, source: nn.Module, *inputs: Tensor) -> Any:
        return source(*inputs)


def _in_domain(spec: TensorSpec, given: Tensor | TensorSpec) -> TensorSpec:
    """A spec whose examples are whole numbers such as the caller's: others may lie outside a model's tables."""
    if not isinstance(given, Tensor) or given.is_meta or spec.fill is not None or not given.numel():
        return spec
    if spec.dtype not in ("int8", "int16", "int32", "int64"):
        return spec
    first = int(given.flatten()[0])
    # Specs keep it as a float.
    return TensorSpec(spec.name, spec.shape, spec.dtype, fill=first) if abs(first) < 1 << 53 else spec


def as_static(
    model: nn.Module, example_inputs: Tensor | TensorSpec | Iterable[Tensor | TensorSpec] | None = None
) -> StaticModel:
    """The model and its inputs in the one form that everything below takes.

    Args:
        model: A `StaticModel`, such as `make_static` gives, or any module that is static already.
        example_inputs: The inputs of a plain module: tensors, as `torch.jit.trace` takes them, or `TensorSpec`s.
            None for a `StaticModel`, which has its own.

    Returns:
        The `StaticModel` itself, or a `PlainModel` of one graph, ``"main"``.

    Raises:
        UnknownModelError: If the model is not a module.
        SpecError: If inputs are missing, are given for a `StaticModel`, or are neither tensors nor specs.
    """
    model = tensors.module("model", model, error=UnknownModelError)
    if isinstance(model, StaticModel):
        if example_inputs is not None:
            raise SpecError(
                f"got example_inputs={shown(example_inputs)}; expected None, since {type(model).__name__} has its "
                f"inputs ({', '.join(map(str, model.specs))}); leave example_inputs out"
            )
        return model
    if example_inputs is None:
        raise SpecError(
            f"got example_inputs=None; expected tensors or TensorSpecs for {type(model).__name__}; give those that "
            "the module is called with, or make the model static first with neuronkit.make_static(model)"
        )
    return PlainModel(model, _listed(example_inputs))


def _listed(example_inputs: Any) -> list[Tensor | TensorSpec]:
    """The example inputs one by one."""
    if isinstance(example_inputs, (Tensor, TensorSpec)):
        return [_input("example_inputs", example_inputs)]
    if type(example_inputs).__module__ == "numpy":
        return [tensors.tensor("example_inputs", example_inputs)]
    if isinstance(example_inputs, (str, bytes, Mapping)) or not isinstance(example_inputs, Iterable):
        raise SpecError(
            f"got example_inputs={shown(example_inputs)}; expected tensors or TensorSpecs; give them in the order of "
            "forward"
        )
    items = checks.items("example_inputs", example_inputs, "tensors or TensorSpecs", most=10_000, error=SpecError)
    if items and all(isinstance(item, int) for item in items):
        raise SpecError(
            f"got example_inputs={shown(example_inputs)}, a shape; expected tensors or TensorSpecs; "
            f"give [TensorSpec('images', {shown(tuple(items), 80)})]"
        )
    return [_input(f"example_inputs[{i}]", item) for i, item in enumerate(items)]


def _input(name: str, value: Any) -> Tensor | TensorSpec:
    # A tensor without data says which shape and dtype it stands for.
    if isinstance(value, TensorSpec) or (isinstance(value, Tensor) and value.is_meta):
        return value
    return tensors.tensor(name, value)


# Of this thread alone: others compute with the same modules.
_kept: ContextVar[Mapping[nn.Module, tuple[Tensor, ...]]] = ContextVar("_kept", default={})  # noqa: B039


@contextlib.contextmanager
def kept_constants(graphs: Iterable[nn.Module]) -> Iterator[None]:
    """Within, what depends on weights alone is computed once, as in a graph to be compiled; no module is changed."""
    parts = {part for graph in graphs for part in graph.modules() if isinstance(part, Foldable)}
    with torch.no_grad():
        constants: dict[nn.Module, tuple[Tensor, ...]] = {part: part.constants for part in parts}
    token = _kept.set(constants)
    try:
        yield
    finally:
        _kept.reset(token)


class Foldable(nn.Module, ABC):
    """A graph module some of whose tensors depend on weights alone.

    They are computed at every call while the weights are live, and once in a graph to be compiled. Folded, they are
    buffers, so that a target can move them to its device.
    """

    _num_folded: int | None = None

    @abstractmethod
    def compute_constants(self) -> tuple[Tensor, ...]:
        """Compute what depends on weights alone."""

    @property
    def constants(self) -> tuple[Tensor, ...]:
        if self._num_folded is None:
            kept = _kept.get().get(self)
            return self.compute_constants() if kept is None else kept
        return tuple(getattr(self, f"folded_{i}") for i in range(self._num_folded))

    def suit(self, rules: str) -> None:
        """Take the form that suits a target whose operators follow these rules."""

    def fold(self) -> None:
        """Fix the constants at their values of this moment."""
        with torch.no_grad():
            constants = self.compute_constants()
        for i, constant in enumerate(constants):
            self.register_buffer(f"folded_{i}", constant.detach().clone(), persistent=False)
        self._num_folded = len(constants)

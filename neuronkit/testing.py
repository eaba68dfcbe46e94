"""AdapterConformance: the tests that every adapter passes, as a pytest base class for anybody's adapter."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from neuronkit.adapters.registry import make_static
from neuronkit.artifact import load
from neuronkit.capture.tracing import trace_watched
from neuronkit.compile import compile_for_inferentia
from neuronkit.compile.parity import assert_parity
from neuronkit.static.model import StaticModel
from neuronkit.static.original import eval_mode
from neuronkit.static.trees import leaves, map_tensors

_WIDE_DTYPES = (torch.int64, torch.float64)
_BLOCKS = ("prim::Loop", "prim::If")


class AdapterConformance:
    """Tests of one adapter on one model.

    Subclass it in a test file, under a name that begins with ``Test``, and say how the model is made. A small
    random model serves well, as long as its results differ from image to image.

    Attributes:
        batch_size: Rows of the fixed batch.
        seeds: Inputs are made from each of these.
        options: What `make_static` takes as options.
        rtol, atol: Tolerance of every comparison; an entry passes when its error is at most atol + rtol * |expected|.
        distinct_results: How many different results the inputs must give at least. Fewer would let an adapter pass that
            ignores its input.
        targets: What it is compiled for.

    Examples:
        ```python
        class TestMyReader(AdapterConformance):
            def make_model(self):
                torch.manual_seed(0)
                return MyReader(width=32)
        ```
    """

    batch_size: int = 3
    seeds: Sequence[int] = (0, 1, 2)
    options: Any = None
    rtol: float = 1e-4
    atol: float = 1e-4
    distinct_results: int = 2
    targets: Sequence[str] = ("cpu",)

    def make_model(self) -> nn.Module:
        """Make the dynamic model, the same at every call."""
        raise NotImplementedError(f"{type(self).__name__} must define make_model(self) and return the dynamic model")

    def make_static(self, model: nn.Module, batch_size: int) -> StaticModel:
        """Make the static model under test; `neuronkit.make_static` unless overridden."""
        return make_static(model, batch_size=batch_size, options=self.options)

    def make_inputs(self, batch: int, seed: int) -> tuple[Tensor, ...]:
        """Inputs of `batch` rows; the static model's own examples unless overridden."""
        return self.make_static(self.make_model(), batch).example_inputs(seed)

    def results(self, static: StaticModel, outputs: Any) -> list[Any] | None:
        """Decode outputs, one result a row; `static.decoded` unless overridden. None where nothing is decoded.

        Results are compared by ``==``, floats in them within the tolerance.
        """
        decoded = getattr(static, "decoded", None)
        return None if decoded is None else list(decoded(outputs))

    def expected_results(self, model: nn.Module, inputs: tuple[Tensor, ...]) -> list[Any] | None:
        """The original's own decoded result of one row, where it gives one; None decodes its reference outputs."""
        return None

    # What follows are the tests.

    def test_shapes_are_static(self) -> None:
        """The outputs have one shape and dtype, whatever the inputs hold, and the inputs are what the specs say."""
        static = self._static()
        shapes = set()
        for inputs in self._inputs():
            _require(len(inputs) == len(static.specs), f"{len(inputs)} inputs, but specs are {static.specs}")
            for spec, tensor in zip(static.specs, inputs):
                spec.check(tensor)
            shapes.add(tuple((tuple(t.shape), t.dtype) for t in leaves(_run(static, inputs))))
        _require(len(shapes) == 1, f"the outputs' shapes change with the inputs' values: {sorted(map(str, shapes))}")

    def test_graphs_trace_without_warning(self) -> None:
        """No graph lets a value leave for Python; traced, each gives what it gives untraced, on other inputs."""
        for name, (module, specs) in self._static().graphs().items():
            traced = _trace(name, module, specs, self.seeds[0])
            others = tuple(spec.example(self.seeds[-1] + 7) for spec in specs)
            self._compare(traced(*others), module(*others), f"graph {name!r}, traced, against itself untraced")

    def test_graphs_hold_no_loop_branch_or_wide_type(self) -> None:
        """No graph has a loop or a branch, nor an input or output of int64 or float64."""
        for name, (module, specs) in self._static().graphs().items():
            traced = _trace(name, module, specs, self.seeds[0])
            blocks = [node.kind() for node in _nodes(torch._C._jit_pass_inline, traced) if node.kind() in _BLOCKS]
            _require(not blocks, f"graph {name!r} holds {blocks}; compute both sides and choose with torch.where")
            outputs = leaves(traced(*(spec.example() for spec in specs)))
            wide = [str(spec) for spec in specs if spec.torch_dtype in _WIDE_DTYPES]
            wide += [f"output {i}: {t.dtype}" for i, t in enumerate(outputs) if t.dtype in _WIDE_DTYPES]
            _require(not wide, f"graph {name!r} takes or gives {wide}; Neuron takes int32 and float32")

    def test_equals_the_original_row_by_row(self) -> None:
        """Outputs and decoded results are those of the original, given each row alone."""
        static, model = self._static(), self.make_model()
        alone = self.make_static(model, 1)
        for seed, inputs in zip(self.seeds, self._inputs()):
            outputs = _run(static, inputs)
            for i, row in enumerate(_rows(inputs)):
                expected = alone.reference(*row)
                ours = alone.meaningful(_row(outputs, i), row)
                self._compare(ours, alone.meaningful(expected, row), f"row {i} of seed {seed} against the original")
                self._compare_results(
                    self.results(alone, _row(outputs, i)),
                    self.expected_results(alone.original, row) or self.results(alone, expected),
                    f"decoded row {i} of seed {seed} against the original's",
                )

    def test_rows_do_not_influence_each_other(self) -> None:
        """A row gives the same wherever it stands and whatever stands beside it."""
        static = self._static()
        first, second = (self.make_inputs(self.batch_size, seed) for seed in (self.seeds[0], self.seeds[-1] + 1))
        outputs = static.meaningful(_run(static, first), first)
        for i, row in enumerate(_rows(first)):
            place = (i + 1) % self.batch_size
            mixed = tuple(other.clone() for other in second)
            for tensor, own in zip(mixed, row):
                tensor[place] = own[0]
            moved = static.meaningful(_run(static, mixed), mixed)
            self._compare(_row(moved, place), _row(outputs, i), f"row {i}, moved to {place} among other rows,")

    def test_inputs_tell_an_adapter_apart(self) -> None:
        """The inputs give different results, so that the other tests can see a wrong one."""
        static = self._static()
        seen: list[Any] = []
        for inputs in self._inputs():
            outputs = _run(static, inputs)
            found = self.results(static, outputs)
            for i in range(self.batch_size):
                result = leaves(_row(outputs, i)) if found is None else found[i]
                if not any(_same(result, other, 0.0, 0.0) for other in seen):
                    seen.append(result)
        _require(
            len(seen) >= self.distinct_results,
            f"{len(self.seeds) * self.batch_size} rows gave {len(seen)} different results, expected at least "
            f"{self.distinct_results}; take other seeds, or scale the random weights up",
        )

    def test_leaves_the_model_as_it_was(self) -> None:
        """Weights, modes, attributes and modules of the caller's model are what they were."""
        # Made before: models of one class may share parts, such as an activation that is a default argument.
        inputs = self.make_inputs(self.batch_size, self.seeds[0])
        model = self.make_model().train()
        first = next(iter(model.children()), model)
        first.eval()
        before = _state(model)
        static = self.make_static(model, self.batch_size)
        _run(static, inputs)
        static.reference(*inputs)
        static.graphs()
        static.eval()
        changed = _differences(before, _state(model))
        _require(not changed, f"the caller's model was changed: {', '.join(changed[:8])}")
        _require(not list(static.parameters()), "the static model registers the original's parameters as its own")

    def test_compiles_saves_and_reloads(self, tmp_path: Path) -> None:
        """Compiled for each of `targets`, saved and loaded, it gives what the static model gives."""
        static = self._static()
        functions: dict[str, Any] = {}
        for target in self.targets:
            compiled = compile_for_inferentia(static, target=target, progress=False)
            functions[f"compiled for {target!r}"] = compiled
            functions[f"compiled for {target!r}, reloaded"] = load(compiled.save(tmp_path / target))
        for seed, inputs in zip(self.seeds, self._inputs()):
            expected = _run(static, inputs)
            for name, function in functions.items():
                outputs = function(*inputs)
                ours, theirs = static.meaningful(outputs, inputs), static.meaningful(expected, inputs)
                self._compare(ours, theirs, f"{name}, seed {seed}, against the static model")
                results = self.results(static, outputs), self.results(static, expected)
                self._compare_results(*results, f"{name}, decoded, seed {seed}, against the static model")

    def _static(self) -> StaticModel:
        return self.make_static(self.make_model(), self.batch_size)

    def _inputs(self) -> Iterator[tuple[Tensor, ...]]:
        return (self.make_inputs(self.batch_size, seed) for seed in self.seeds)

    def _compare(self, actual: Any, expected: Any, what: str) -> None:
        try:
            # Both are computed already: what they are called with does not matter.
            assert_parity(lambda _: actual, lambda _: expected, [(torch.zeros(1),)], rtol=self.rtol, atol=self.atol)
        except (AssertionError, ValueError) as error:
            raise AssertionError(f"{what}: {error}") from error

    def _compare_results(self, actual: Any, expected: Any, what: str) -> None:
        _require(_same(actual, expected, self.rtol, self.atol), f"{what}: got {actual!r}, expected {expected!r}")


class PaddedConformance(AdapterConformance):
    """Further tests, for line recognisers and detectors: models that take the valid size of each row.

    Their second input is ``valid_size`` (N, 2), (height, width), or ``valid_width`` (N,), as example inputs make them:
    of different sizes, on which the original can run. `interface` says along which axes of an output how much is valid.

    Attributes:
        paddings: What rows are padded with, besides what the example inputs hold there; images of bytes with 0 and 255.

    Examples:
        ```python
        class TestMyLines(PaddedConformance):
            options = neuronkit.LineOptions(width=96)

            def make_model(self):
                torch.manual_seed(0)
                return MyLineReader()
        ```
    """

    paddings: Sequence[float] = (float("nan"), 1e3, 0.0)

    def test_equals_the_original_on_what_is_valid(self) -> None:
        """Each row gives what the original gives for its valid part alone, cut out."""
        static = self._static()
        for seed, inputs in zip(self.seeds, self._inputs()):
            outputs = _run(static, inputs)
            for i, (images, valid) in enumerate(_rows(self._padded(inputs))):
                own: Any = (..., *map(slice, valid.reshape(-1).tolist()))
                alone = images[own]
                with torch.no_grad(), eval_mode(static.source):
                    original = static.run_original(static.source, *static.normalized((alone, valid)))
                    expected = static.as_outputs(original)
                ours, theirs = (_valid_parts(static, o, valid) for o in (_row(outputs, i), expected))
                self._compare(ours, theirs, f"row {i} of seed {seed} against the original on {tuple(alone.shape[2:])}")

    def test_padding_has_no_influence(self) -> None:
        """Whatever lies outside the valid size, NaN included, the outputs are the same."""
        static = self._static()
        for inputs in self._inputs():
            images, valid = self._padded(inputs)
            expected = static.meaningful(_run(static, inputs), inputs)
            for padding in self.paddings if images.is_floating_point() else (0, 255):
                padded = torch.full_like(images, padding)
                for row, image, size in zip(padded, images, valid.reshape(len(valid), -1).tolist()):
                    part: tuple[Any, ...] = (..., *map(slice, size))
                    row[part] = image[part]
                outputs = static.meaningful(_run(static, (padded, valid)), inputs)
                self._compare(outputs, expected, f"padded with {padding}, against padded with the example's values,")

    def _padded(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Images and valid sizes, of which at least one is smaller than the canvas."""
        _require(len(inputs) == 2, f"got {len(inputs)} inputs; expected images and the valid size of each row")
        images, valid = inputs
        canvas = torch.tensor(images.shape[-valid.reshape(len(valid), -1).shape[1] :])
        _require(bool((valid < canvas).any()), "no row is smaller than the canvas; make inputs that have padding")
        return images, valid


def _valid_parts(static: StaticModel, outputs: Any, valid: Tensor) -> list[Tensor]:
    """The outputs of one row, cut to what its valid size (1, ...) makes valid."""
    sizes = valid.reshape(-1).tolist()
    parts = leaves(static.meaningful(outputs, (outputs, valid)))
    for i, output in enumerate(static.interface.outputs):
        area = output.valid
        for axis, size in zip(area.axes if area else (), sizes):
            parts[i] = parts[i].narrow(axis, 0, area.size(size))  # type: ignore[union-attr]
    return parts


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _run(static: StaticModel, inputs: Sequence[Tensor]) -> Any:
    with torch.no_grad():
        return static(*inputs)


def _rows(inputs: Sequence[Tensor]) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.split(1) for tensor in inputs))


def _row(outputs: Any, i: int) -> Any:
    return map_tensors(lambda tensor: tensor[i : i + 1], outputs)


def _trace(name: str, module: nn.Module, specs: Sequence[Any], seed: int) -> torch.jit.ScriptModule:
    traced, escapes = trace_watched(module, tuple(spec.example(seed) for spec in specs))
    told = [f"{escape.call} in {escape.module or 'the top module'}, {escape.location}" for escape in escapes]
    _require(not told, f"graph {name!r}: a value leaves the graph for Python: {'; '.join(told)}")
    return traced


def _nodes(inline: Any, traced: torch.jit.ScriptModule) -> Iterator[Any]:
    graph = traced.graph.copy()
    inline(graph)
    blocks: list[Any] = [graph]
    while blocks:
        for node in blocks.pop().nodes():
            blocks.extend(node.blocks())
            yield node


def _same(actual: Any, expected: Any, rtol: float, atol: float) -> bool:
    """Whether two results are equal, floats and tensors in them within the tolerance."""
    if isinstance(actual, Tensor) and isinstance(expected, Tensor):
        return actual.shape == expected.shape and torch.allclose(actual, expected, rtol=rtol, atol=atol)
    if isinstance(actual, (list, tuple)) and isinstance(expected, (list, tuple)):
        return len(actual) == len(expected) and all(_same(a, e, rtol, atol) for a, e in zip(actual, expected))
    if isinstance(actual, float) and isinstance(expected, float):
        return abs(actual - expected) <= atol + rtol * abs(expected)
    return bool(actual == expected)


def _state(model: nn.Module) -> dict[str, Any]:
    """Everything about a model that a caller could see change."""
    state: dict[str, Any] = {}
    for path, module in model.named_modules():
        state[f"{path or 'model'} (module)"] = id(module)
        for name, value in vars(module).items():
            if name in ("_parameters", "_buffers"):
                state.update(
                    {f"{path}.{key}": None if t is None else (id(t), t.detach().clone()) for key, t in value.items()}
                )
            elif name != "_modules":
                state[f"{path}.{name}"] = _snapshot(value)
    return state


def _snapshot(value: Any) -> Any:
    """A copy of plain data, and the identity of anything else."""
    if isinstance(value, (int, float, str, bytes, bool, type(None), Tensor)):
        return value.detach().clone() if isinstance(value, Tensor) else value
    if isinstance(value, (list, tuple, set)):
        return type(value).__name__, [_snapshot(item) for item in value]
    if isinstance(value, dict):
        return {key: _snapshot(item) for key, item in value.items()}
    fields = getattr(value, "__dict__", None)
    # A configuration: neither a module, nor code.
    if fields is not None and not callable(value):
        return {key: copy.copy(item) if isinstance(item, (list, dict)) else item for key, item in fields.items()}
    return id(value)


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    names = [*before, *(name for name in after if name not in before)]
    return [n for n in names if n not in before or n not in after or not _equal(before[n], after[n])]


def _equal(before: Any, after: Any) -> bool:
    if isinstance(before, Tensor) or isinstance(after, Tensor):
        both = isinstance(before, Tensor) and isinstance(after, Tensor)
        return both and before.shape == after.shape and bool(torch.equal(before, after))
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_equal(before[key], after[key]) for key in before)
    if isinstance(before, (list, tuple)) and isinstance(after, (list, tuple)):
        return len(before) == len(after) and all(map(_equal, before, after))
    return before is after or bool(before == after)

"""ONNX Runtime and OpenVINO: what they compute, what an artifact of theirs holds, what they refuse."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor, nn

import neuronkit
from neuronkit import (
    CompileOptions,
    StaticCRAFT,
    StaticModel,
    StaticPARSeq,
    TensorSpec,
    compile_for_inferentia,
    exact_padding,
)
from neuronkit.demo.picture import IMAGE
from neuronkit.demo.weights import load_craft
from neuronkit.errors import ArtifactError, CompileError, MissingDependencyError, OptionError, SpecError
from neuronkit.models import PARSeq
from neuronkit.ocr import CraftProcessor
from neuronkit.static.decoding.loops import end_at_eos
from neuronkit.static.ops import one_hot
from neuronkit.targets import find_target
from tests.static.networks import UNet, lively

pytestmark = pytest.mark.runtimes
RUNTIMES = ("onnx", "openvino")
SIZES: dict[str, Any] = {"embed_dim": 32, "enc_depth": 2, "enc_num_heads": 2, "dec_num_heads": 4, "patch_size": (8, 16)}


def reader(method: str = "auto") -> StaticPARSeq:
    torch.manual_seed(26)
    model = PARSeq(36, max_label_length=7, **SIZES)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3.0)
    return StaticPARSeq(model, batch_size=2, method=method)


def files(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("method", ["fused", "stepwise"])
def test_an_artifact_is_a_directory_with_a_file_of_weights(target: str, method: str, tmp_path: Path) -> None:
    static = reader(method)
    compiled = compile_for_inferentia(static, target=target)
    loaded = neuronkit.load(compiled.save(tmp_path / "model"))
    inputs = static.example_inputs(5)
    assert torch.equal(loaded(*inputs), compiled(*inputs))
    assert torch.allclose(end_at_eos(loaded(*inputs), [0]), end_at_eos(static(*inputs), [0]), atol=1e-4)
    graphs = [f"{name}.onnx" for name in static.graphs()]
    assert files(tmp_path / "model") == sorted(
        [*graphs, "SHA256SUMS", "graphs.json", "neuronkit.json", "run.py", "weights.bin"]
    )
    # Of what was loaded, another copy can be saved, which needs no file but its own.
    again = loaded.save(tmp_path / "again")
    for name in files(tmp_path / "model"):
        (tmp_path / "model" / name).unlink()
    assert torch.equal(neuronkit.load(again)(*inputs), compiled(*inputs))


@pytest.mark.parametrize("method", ["fixed_point", "stepwise", "fused"])
def test_graphs_share_their_weights(method: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PARSeq(36, embed_dim=192, enc_depth=2, enc_num_heads=3, dec_num_heads=6)
    path = compile_for_inferentia(StaticPARSeq(model, method=method), target="onnx", verify=False).save(tmp_path / "m")
    weights = sum(4 * parameter.numel() for parameter in model.parameters())
    # Small ones lie in the graphs' files.
    assert (path / "weights.bin").stat().st_size <= 1.05 * weights


class Tied(nn.Module):
    """Predicts with the table that it reads tokens from."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.randn(200, 64))

    def forward(self, tokens: Tensor) -> Tensor:
        return nn.functional.linear(one_hot(tokens, 200, torch.float32) @ self.table, self.table)


def test_a_table_that_is_used_transposed_too_is_written_once(tmp_path: Path) -> None:
    model, spec = Tied(), TensorSpec("tokens", (2, 5), "int32", fill=3)
    compiled = compile_for_inferentia(model, spec, target="onnx")
    assert torch.allclose(compiled(spec.example()), model(spec.example()), atol=1e-4)
    path = compiled.save(tmp_path / "model")
    assert (path / "weights.bin").stat().st_size <= 1.05 * 4 * model.table.numel()


class Several(nn.Module):
    """Outputs in a structure, one of them an input, and a buffer that has an input's name."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("x", torch.arange(300.0).reshape(1, 300))

    def forward(self, x: Tensor) -> Any:
        return {"sum": x + self.x, "rest": [x, (x > 0).sum(1), None]}


@pytest.mark.parametrize("target", RUNTIMES)
def test_outputs_come_in_the_structure_of_the_original(target: str, tmp_path: Path) -> None:
    # TorchScript has no such structure, which the reference is traced to.
    compiled = find_target(target).compile(
        {"main": (Several().eval(), (TensorSpec("x", (2, 300)),))}, options=CompileOptions(), progress=print
    )
    x = torch.randn(2, 300)
    given, expected = compiled.callables["main"](x), Several()(x)
    assert given.keys() == expected.keys()
    assert torch.equal(given["sum"], expected["sum"])
    assert [type(item) for item in given["rest"]] == [Tensor, Tensor, type(None)]
    assert torch.equal(given["rest"][0], x)
    assert torch.equal(given["rest"][1], expected["rest"][1])
    assert given["rest"][1].dtype == torch.int64


class Ignores(nn.Module):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return torch.full((2, 3), 7.0)


@pytest.mark.parametrize("target", RUNTIMES)
def test_inputs_that_nothing_depends_on_are_taken(target: str) -> None:
    specs = [TensorSpec("x", (2, 4)), TensorSpec("y", (2, 5), "int32")]
    compiled = compile_for_inferentia(Ignores(), specs, target=target)
    assert torch.equal(compiled(*(spec.example() for spec in specs)), torch.full((2, 3), 7.0))


def test_outputs_have_names(tmp_path: Path) -> None:
    compile_for_inferentia(reader("stepwise"), target="onnx", verify=False).save(tmp_path / "model")
    graphs = json.loads((tmp_path / "model" / "graphs.json").read_text())["graphs"]
    named = {name: [output["name"] for output in graph["outputs"]] for name, graph in graphs.items()}
    assert named == {"encode": ["memory"], "step": ["logits", "next_state"], "decode": ["logits"]}
    assert [spec["name"] for spec in graphs["step"]["inputs"]] == ["token", "state", "memory"]


@pytest.mark.parametrize("target", RUNTIMES)
def test_max_pooling_is_an_operator_there(target: str, tmp_path: Path) -> None:
    import onnx

    torch.manual_seed(0)
    padded = exact_padding(nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 2, 3)))
    specs = [TensorSpec("images", (1, 3, 32, 48)), TensorSpec("valid_size", (1, 2), "int32", fill=20)]
    compiled = compile_for_inferentia(padded, specs, target=target)
    compiled.save(tmp_path / "model")
    operators = [node.op_type for node in onnx.load(str(tmp_path / "model" / "main.onnx")).graph.node]
    assert operators.count("MaxPool") == 1
    images, valid = torch.randn(1, 3, 32, 48), torch.tensor([[20, 31]], dtype=torch.int32)
    assert torch.allclose(compiled(images, valid), padded(images, valid), atol=1e-5)


class Steep(nn.Module):
    """Two layers whose normalisation scales by nothing, by much, and by negative numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True))
        self.second = nn.Conv2d(6, 4, 5, padding=4, dilation=2)
        norm = self.first[1]
        norm.weight.data = torch.tensor([0.0, 1e-30, 1e20, -1.0, -1e-3, 2.0])
        norm.bias.data = torch.tensor([3.0, 2.0, 0.0, 5.0, -0.5, 1.0])
        self.second.weight.data[:, 2] *= 1e-20
        assert norm.running_mean is not None
        norm.running_mean.uniform_(-1, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.second(self.first(images))  # type: ignore[no-any-return]


@pytest.mark.parametrize("target", RUNTIMES)
@pytest.mark.parametrize("kind", ["normalised", "alone", "hooked"])
def test_the_first_layer_is_masked_by_its_own_sum(kind: str, target: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = Steep().eval()
    if kind == "alone":
        network.first = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.ReLU())
    if kind == "hooked":
        network.first[0].register_forward_pre_hook(lambda module, given: (2 * given[0],))
    valid = torch.tensor([[14, 9], [20, 24]], dtype=torch.int32)
    images = torch.full((2, 3, 20, 24), float("nan"))
    for row, (height, width) in enumerate(valid.tolist()):
        images[row, :, :height, :width] = torch.randn(3, height, width)
    specs = [TensorSpec("images", images.shape), TensorSpec("valid_size", (2, 2), "int32", fill=9)]
    compiled = compile_for_inferentia(exact_padding(network), specs, target=target)
    given = compiled(images, valid)
    for row, (height, width) in enumerate(valid.tolist()):
        with torch.no_grad():
            expected = network(images[row : row + 1, :, :height, :width])[0]
        torch.testing.assert_close(given[row, :, :height, :width], expected, rtol=1e-5, atol=1e-5)
        assert not given[row, :, height:].any()
        assert not given[row, :, :, width:].any()
    assert wide_convolutions(compiled, tmp_path) == (0 if kind == "hooked" else 1)


@pytest.mark.parametrize("target", RUNTIMES)
def test_lines_are_masked_by_the_sum_of_their_first_layer_too(target: str, tmp_path: Path) -> None:
    torch.manual_seed(4)
    network = Steep().eval()
    specs = [TensorSpec("images", (2, 3, 20, 24)), TensorSpec("valid_width", (2,), "int32", fill=9)]
    compiled = compile_for_inferentia(exact_padding(network, height=20), specs, target=target)
    images, widths = torch.randn(2, 3, 20, 24), torch.tensor([9, 17], dtype=torch.int32)
    given = compiled(images, widths)
    for row, width in enumerate(widths.tolist()):
        with torch.no_grad():
            expected = network(images[row : row + 1, :, :, :width])[0]
        torch.testing.assert_close(given[row, :, :, :width], expected, rtol=1e-5, atol=1e-5)
    assert wide_convolutions(compiled, tmp_path) == 1


def wide_convolutions(compiled: neuronkit.CompiledModel, path: Path) -> int:
    """How many convolutions are given a mask among their channels."""
    import onnx

    graph = onnx.load(str(next(compiled.save(path / "model").glob("*.onnx")))).graph
    joined = {node.output[0] for node in graph.node if node.op_type == "Concat"}
    return sum(node.op_type == "Conv" and node.input[0] in joined for node in graph.node)


def test_float16_keeps_its_masks_apart(tmp_path: Path) -> None:
    specs = [TensorSpec("images", (1, 3, 16, 16)), TensorSpec("valid_size", (1, 2), "int32", fill=9)]
    options = CompileOptions(auto_cast="all", auto_cast_type="fp16")
    network = exact_padding(Steep().eval())
    compiled = compile_for_inferentia(network, specs, target="openvino", options=options, verify=False)
    assert wide_convolutions(compiled, tmp_path) == 0


@pytest.mark.parametrize("target", RUNTIMES)
def test_copies_compute_at_once_and_the_same(target: str) -> None:
    static = reader("fixed_point")
    compiled = compile_for_inferentia(static, target=target, options=CompileOptions(threads=1), verify=False)
    inputs = [static.example_inputs(seed)[0] for seed in range(6)]
    expected = torch.cat([compiled(images) for images in inputs])
    assert torch.allclose(compiled.replicate(2)(torch.cat(inputs)), expected, atol=1e-5)
    with ThreadPoolExecutor(3) as pool:
        assert torch.allclose(torch.cat(list(pool.map(compiled, inputs))), expected, atol=1e-5)


@pytest.mark.parametrize("target", RUNTIMES)
def test_the_cache_gives_back_what_it_got(target: str, tmp_path: Path) -> None:
    static, options = reader("stepwise"), CompileOptions(cache_dir=tmp_path)
    first, second = (compile_for_inferentia(static, target=target, options=options) for _ in range(2))
    assert {record["status"] for record in second.manifest["cache"].values()} == {"hit"}
    assert torch.equal(first(*static.example_inputs()), second(*static.example_inputs()))
    other = compile_for_inferentia(static, target=target, options=CompileOptions(cache_dir=tmp_path, opset=16))
    assert {record["status"] for record in other.manifest["cache"].values()} == {"miss"}


def test_openvino_computes_in_float32_unless_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from neuronkit.targets import openvino

    asked: list[dict[str, Any]] = []
    core = openvino._core()

    class Core:
        def compile_model(self, path: str, device: str, properties: dict[str, Any]) -> Any:
            asked.append(properties)
            return core.compile_model(path, device, properties)

    monkeypatch.setattr(openvino, "_core", Core)
    model, spec = nn.Linear(64, 64), TensorSpec("x", (2, 64))
    plain = compile_for_inferentia(model, spec, target="openvino", options=CompileOptions(threads=3))
    assert asked[-1]["INFERENCE_PRECISION_HINT"] == "f32"
    assert asked[-1]["INFERENCE_NUM_THREADS"] == 3
    narrow = CompileOptions(auto_cast="all", auto_cast_type="bf16")
    compiled = compile_for_inferentia(model, spec, target="openvino", options=narrow)
    neuronkit.load(compiled.save(tmp_path / "model"))
    assert [properties["INFERENCE_PRECISION_HINT"] for properties in asked[-2:]] == ["bf16", "bf16"]
    assert plain.manifest["parity"]["compiled"]["rtol"] == 1e-4 < compiled.manifest["parity"]["compiled"]["rtol"]


def test_openvino_says_that_it_waits_forever_in_a_forked_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from neuronkit.targets import openvino

    model, spec = nn.Linear(4, 4), TensorSpec("x", (2, 4))
    path = compile_for_inferentia(model, spec, target="openvino").save(tmp_path / "model")
    monkeypatch.setattr(openvino, "_first_core", lambda: (None, -1))
    with pytest.raises(ArtifactError, match="'spawn'"):
        neuronkit.load(path)
    with pytest.raises(CompileError, match="'spawn'"):
        compile_for_inferentia(model, spec, target="openvino")


class Resized(nn.Module):
    """Layers, and their maps in another size.

    Args:
        strides: Of the layers.
        resize: Given to interpolate; with nothing, maps get the image's size, as networks for segmentation end.
    """

    def __init__(self, strides: Sequence[int] = (2, 2, 2, 1, 1, 1, 1), **resize: Any) -> None:
        super().__init__()
        self.resize = resize
        layers = (
            nn.Sequential(nn.Conv2d(count, 8, 3, stride, 1), nn.ReLU()) for count, stride in zip((3, *[8] * 6), strides)
        )
        self.layers = nn.Sequential(*layers)
        generator = torch.Generator().manual_seed(0)
        for weight in (p.data for p in self.parameters() if p.dim() > 1):
            weight.normal_(0, 0.2, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        resize = self.resize or {"size": x.shape[2:], "mode": "bilinear"}
        return nn.functional.interpolate(self.layers(x), **resize)


# Places above 256, which bfloat16 does not hold one by one.
_RESIZES: dict[str, Callable[[], nn.Module]] = {
    "to the image's size": Resized,
    "by a factor": lambda: Resized((1, 1), scale_factor=0.69, mode="bilinear"),
    "nearest by a factor": lambda: Resized((2, 1), scale_factor=1.7),
}


@pytest.mark.parametrize("name", ["CRAFT", "U-Net", *_RESIZES])
def test_padding_adds_little_to_what_bfloat16_costs(name: str) -> None:
    """Masks and sentinels that a compiler rounds would let padding in, or values that no layer gives."""
    narrow = CompileOptions(auto_cast="all", auto_cast_type="bf16")
    if name == "CRAFT":
        image = ImageOps.fit(Image.open(IMAGE).convert("RGB"), (320, 224))
        levels, _ = CraftProcessor(mag_ratio=1.0, canvas=(224, 320)).preprocess([np.asarray(image)])
        alone, model, size = torch.from_numpy(levels), load_craft(), (256, 384)
        static: nn.Module = StaticCRAFT(model, height=size[0], width=size[1])
    elif name in _RESIZES:
        model, size = lively(_RESIZES[name]()), (512, 512)
        alone, static = torch.randn(1, 3, 473, 490, generator=torch.Generator().manual_seed(0)), exact_padding(model)
    else:
        model, size = lively(UNet("bilinear", width=8, depth=2)), (128, 160)
        alone, static = torch.randn(1, 3, 96, 120, generator=torch.Generator().manual_seed(0)), exact_padding(model)
    height, width = alone.shape[2:]
    canvas = torch.full((1, 3, *size), 9.0)
    canvas[:, :, :height, :width] = alone
    inputs = {"plain": (alone,), "exact": (canvas, torch.tensor([[height, width]], dtype=torch.int32))}
    with torch.no_grad():
        expected = _first(model(alone))
    errors = {}
    for kind, given in inputs.items():
        module = model if kind == "plain" else static
        examples = None if isinstance(module, StaticModel) else given
        compiled = compile_for_inferentia(module, examples, target="openvino", options=narrow, verify=False)
        found = _first(compiled(*given))[tuple(map(slice, expected.shape))]
        errors[kind] = float((found - expected).abs().max())
    assert 1e-4 * float(expected.abs().max()) < errors["plain"]
    assert errors["exact"] <= 1.5 * errors["plain"]


def _first(outputs: Any) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


@pytest.mark.parametrize("target", ["cpu", *RUNTIMES])
def test_casting_nothing_is_what_targets_without_casts_do(target: str) -> None:
    model, spec = nn.Linear(4, 3), TensorSpec("x", (2, 4))
    compiled = compile_for_inferentia(model, spec, target=target, options=CompileOptions(auto_cast="none"))
    x = torch.randn(2, 4)
    torch.testing.assert_close(compiled(x), model(x).detach())


def test_what_a_runtime_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = TensorSpec("x", (2, 4))
    with pytest.raises(OptionError, match=r"got auto_cast='all'.*target 'onnx' cannot honour"):
        compile_for_inferentia(nn.Linear(4, 3), spec, target="onnx", options=CompileOptions(auto_cast="all"))
    with pytest.raises(SpecError, match=r"got x: bfloat16.*; expected a type that NumPy has too"):
        compile_for_inferentia(
            nn.Linear(4, 3).bfloat16(), TensorSpec("x", (2, 4), "bfloat16"), target="onnx", verify=False
        )
    with pytest.raises(OptionError, match=r"got opset=30; expected at most \d\d, .*; give a lower one"):
        compile_for_inferentia(nn.Linear(4, 3), spec, target="onnx", options=CompileOptions(opset=30))
    with pytest.raises(ArtifactError, match="expected graphs that target 'openvino' compiled"):
        find_target("openvino").save_graphs({"main": print}, Path("nowhere"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"needs the package onnxruntime.* pip install onnx onnxruntime"):
        compile_for_inferentia(nn.Linear(4, 3), spec, target="onnx")


def test_loading_needs_the_runtime_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = nn.Linear(4, 3)
    path = compile_for_inferentia(model, TensorSpec("x", (2, 4)), target="onnx").save(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "onnx", None)
    loaded, x = neuronkit.load(path), torch.randn(2, 4)
    assert torch.allclose(loaded(x), model(x), atol=1e-6)
    loaded.save(tmp_path / "again")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r"pip install onnxruntime$"):
        neuronkit.load(path)


# Directories that somebody sealed.


@pytest.fixture(scope="module", params=RUNTIMES)
def sealed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
    spec = TensorSpec("images", (1, 3, 8, 8))
    compiled = compile_for_inferentia(network, spec, target=request.param, verify=False)
    return compiled.save(tmp_path_factory.mktemp("sealed") / "model")


@pytest.fixture(scope="module")
def sealed_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiled = compile_for_inferentia(reader("stepwise"), target="onnx", verify=False)
    return compiled.save(tmp_path_factory.mktemp("sealed") / "model")


def seal(directory: Path) -> None:
    lines = "".join(
        f"{hashlib.sha256((directory / name).read_bytes()).hexdigest()}  {name}\n"
        for name in files(directory)
        if name != "SHA256SUMS"
    )
    (directory / "SHA256SUMS").write_text(lines + hashlib.sha256(lines.encode()).hexdigest() + "\n")


def put(value: Any, file: str, *keys: str | int) -> Callable[[Path], Any]:
    """Changes a value in a JSON file."""

    def change(directory: Path) -> None:
        content = json.loads((directory / file).read_text())
        place = content
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value
        (directory / file).write_text(json.dumps(content))

    return change


def weights_at(key: str, value: str) -> Callable[[Path], Any]:
    """Changes where the large weights lie."""

    def change(directory: Path) -> None:
        import onnx

        model = onnx.load(str(directory / "main.onnx"), load_external_data=False)
        entries = [entry for weight in model.graph.initializer for entry in weight.external_data if entry.key == key]
        assert entries
        for entry in entries:
            entry.value = value
        (directory / "main.onnx").write_bytes(model.SerializeToString())

    return change


def every(*changes: Callable[[Path], Any]) -> Callable[[Path], Any]:
    return lambda directory: [change(directory) for change in changes]


def wide(*files: str) -> Callable[[Path], Any]:
    """Says that images are of another shape."""
    places = {
        "inputs": ("neuronkit.json", "inputs", 0, "shape"),
        "graph": ("neuronkit.json", "graphs", "main", 0, "shape"),
        "described": ("graphs.json", "graphs", "main", "inputs", 0, "shape"),
    }
    return every(*(put([1, 3, 8, 9], places[name][0], *places[name][1:]) for name in files))


def renamed(name: str) -> Callable[[Path], Any]:
    """Calls the graph so, everywhere."""

    def change(directory: Path) -> None:
        for file in ("neuronkit.json", "graphs.json"):
            content = json.loads((directory / file).read_text())
            content["graphs"] = {name: content["graphs"]["main"]}
            (directory / file).write_text(json.dumps(content))
        with suppress(OSError, ValueError):
            shutil.copy(directory / "main.onnx", directory / f"{name}.onnx")

    return change


def text(content: bytes, file: str = "graphs.json") -> Callable[[Path], Any]:
    return lambda directory: (directory / file).write_bytes(content)


LIES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another output": (put([1, 16, 8, 9], "neuronkit.json", "outputs", 0, "shape"), "that the graph gives output"),
    "another dtype": (put("float16", "neuronkit.json", "outputs", 0, "dtype"), "gives output: float16.* say.*float32"),
    "another input": (wide("inputs"), "that the model takes images: .*9.*, and its graphs say .*8"),
    "another input of the graph": (wide("inputs", "graph"), "that graph 'main' takes"),
    "another input everywhere": (wide("inputs", "graph", "described"), r"'main' takes images: .* 8\]; expected .*9\]"),
    "another description": (put([7], "graphs.json", "graphs", "main", "outputs", 0, "shape"), "'main' gives output_0"),
    "another name": (put("x", "graphs.json", "graphs", "main", "inputs", 0, "name"), "takes images: .*; expected x:"),
    "an input less": (put([], "graphs.json", "graphs", "main", "inputs"), "expected nothing, as graphs.json says"),
    "another type to compute in": (
        every(put("bfloat16", "graphs.json", "settings", "precision")),
        "that it computes in float32, and its graphs say bfloat16",
    ),
    "the other runtime": (
        lambda directory: put(
            "openvino" if json.loads((directory / "neuronkit.json").read_text())["target"] == "onnx" else "onnx",
            *("neuronkit.json", "target"),
        )(directory),
        "got graphs for target '(onnx|openvino)'; expected",
    ),
    "a structure of nothing": (put(5, "graphs.json", "graphs", "main", "tree"), "does not describe.*got tree=5"),
    "a structure of words": (put("a", "graphs.json", "graphs", "main", "tree"), "does not describe.*got tree='a'"),
    "no graphs": (put([], "graphs.json", "graphs"), "does not describe its graphs"),
    "a million threads": (put(10**6, "graphs.json", "settings", "threads"), "got threads=1000000"),
    "half a thread": (put(0.5, "graphs.json", "settings", "threads"), "got threads=0.5"),
    "no settings": (put(3, "graphs.json", "settings"), "does not describe its graphs"),
    "a deep description": (text(b"[" * 100_000), "does not describe its graphs"),
    "a long description": (text(b"[" + b" " * (9 << 20) + b"]"), "does not describe its graphs.*more than"),
    "a long manifest": (text(b"[" + b" " * (9 << 20) + b"]", "neuronkit.json"), "manifest cannot be read .*more than"),
    "a graph outside": (renamed("../main"), r"does not describe.*called '\.\./main'"),
    "a graph with NUL": (renamed("a\0b"), "does not describe.*called"),
    "no graph": (text(b"", "main.onnx"), "is whole, but cannot be loaded"),
    "a page": (text(b"<html>", "main.onnx"), "is whole, but cannot be loaded"),
    "weights elsewhere": (
        weights_at("location", "../secret.bin"),
        r"its weights are in \['[.][.]/secret[.]bin'\]",
    ),
    "weights of the system": (
        weights_at("location", "/etc/passwd"),
        r"its weights are in \['/etc/passwd'\]",
    ),
    "weights without an end": (
        weights_at("location", "/dev/zero"),
        r"its weights are in \['/dev/zero'\]",
    ),
    "weights behind the end": (weights_at("offset", str(1 << 62)), "is whole, but cannot be loaded"),
    "more weights than there are": (weights_at("length", str(1 << 62)), "is whole, but cannot be loaded"),
    "fewer weights": (text(b"x" * 99, "weights.bin"), "is whole, but cannot be loaded"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_directory_that_lies_is_found_out(sealed: Path, lie: str, tmp_path: Path) -> None:
    change, message = LIES[lie]
    directory = Path(shutil.copytree(sealed, tmp_path / "model"))
    (tmp_path / "secret.bin").write_bytes((sealed / "weights.bin").read_bytes())
    change(directory)
    seal(directory)
    with pytest.raises(ArtifactError, match=message):
        neuronkit.load(directory)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("steps", 10**9, "got steps="),
        ("steps", 9, "joins its graphs to 9 steps, and its output has 8"),
        ("eos_id", 1, "with eos 1; its tokens say 0"),
        ("bos_id", 10**30, "got bos_id="),
        ("refine_iters", 10**9, "got refine_iters="),
        ("method", "fused", "cannot be joined as its manifest says"),
        ("outputs", "tokens", "its manifest is damaged"),
        ("causal", 3, "got causal=3"),
    ],
)
def test_a_loop_that_lies_is_found_out(sealed_steps: Path, name: str, value: Any, message: str, tmp_path: Path) -> None:
    directory = Path(shutil.copytree(sealed_steps, tmp_path / "model"))
    put(value, "neuronkit.json", "joining", name)(directory)
    seal(directory)
    with pytest.raises(ArtifactError, match=message):
        neuronkit.load(directory)


def test_a_damaged_artifact_is_refused(tmp_path: Path) -> None:
    path = compile_for_inferentia(nn.Linear(40, 30), TensorSpec("x", (2, 40)), target="onnx").save(tmp_path / "model")
    weights = bytearray((path / "weights.bin").read_bytes())
    weights[7] ^= 1
    (path / "weights.bin").write_bytes(weights)
    with pytest.raises(ArtifactError, match=r"weights\.bin"):
        neuronkit.load(path)

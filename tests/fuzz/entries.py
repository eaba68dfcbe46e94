"""What is called: every public entry point, with arguments that are right."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

import neuronkit
from neuronkit import CompileOptions, CRAFTOptions, PARSeqOptions, StaticCRAFT, StaticPARSeq, TensorSpec
from neuronkit.adapters import registry
from neuronkit.analysis import check_operators, compare_costs
from neuronkit.build import Recipe, build
from neuronkit.cache import CompileCache
from neuronkit.integrations import doctr, easyocr, huggingface
from neuronkit.models import CRAFT, LinkRefiner, PARSeq, RefinedCRAFT, load_checkpoint
from neuronkit.models.any_file import open_model
from neuronkit.ocr import (
    Charset,
    CraftProcessor,
    CtcProcessor,
    DoctrProcessor,
    ImagePage,
    Letterbox,
    Line,
    OCRPipeline,
    Page,
    ParseqProcessor,
    Recognition,
    TextBox,
    Word,
    crop_words,
    find_boxes,
    fold_normalization,
    image_pages,
    load_image,
    load_images,
    page_stream,
    processor_from_dict,
    save_pages,
)
from neuronkit.ocr.metrics import box_f1, quad_iou, text_accuracy
from neuronkit.serving import cores, ray, triton
from neuronkit.static.shapes.replicas import Replicas
from neuronkit.targets import find_target

CHARSET = "abcdefgh"


@dataclass
class Entry:
    """An entry point.

    Attributes:
        path: Its public name.
        function: What is called.
        arguments: Right arguments by name; those under "*" are given by position, before the others.
        weight: How often it is called, in relation to the others.
        documented: What says which errors it raises, where that is not `function`.
        own: Arguments that are the caller's own code, whose errors are the caller's: no other module or function takes
            their place.
    """

    path: str
    function: Callable[..., Any]
    arguments: dict[str, Any] = field(default_factory=dict)
    weight: float = 1.0
    documented: Any = None
    own: tuple[str, ...] = ()


class Decoder(nn.Module):
    """A causal decoder: a token's logits depend on it and on those before."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.head = nn.Linear(8, 9)

    def logits(self, tokens: Tensor, memory: Tensor) -> Tensor:
        steps = torch.arange(1, tokens.shape[1] + 1, device=tokens.device).view(1, -1, 1)
        return self.head(self.embedding(tokens.long()).cumsum(1) / steps + memory.mean(1, keepdim=True))


class Network(nn.Module):
    """Of convolutions, so that it can be padded, tiled and compiled."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images)


class Exportable(nn.Module):
    """Called like a network of docTR."""

    exportable = False

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 1, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"logits": self.body(images)}


def predictor() -> Any:
    """With the parts of docTR's."""
    part = {"pre_processor": SimpleNamespace(batch_size=1, resize=SimpleNamespace(size=(4, 4)))}
    made = {name: SimpleNamespace(model=Exportable().eval(), **part) for name in ("det_predictor", "reco_predictor")}
    return SimpleNamespace(**made)


def double(images: Tensor) -> Tensor:
    """A function of one fixed shape."""
    return images * 2


def steady(*inputs: Any) -> Tensor:
    """What a model gives that takes anything."""
    return torch.ones(2, 3)


def parseq() -> PARSeq:
    sizes = {"embed_dim": 16, "enc_num_heads": 2, "enc_depth": 1, "enc_mlp_ratio": 1}
    return PARSeq(CHARSET, max_label_length=3, img_size=(16, 32), dec_num_heads=2, dec_mlp_ratio=1, **sizes).eval()


def fill(folder: Path) -> None:
    """Files, and what is in the way of files."""
    (folder / "folder").mkdir()
    (folder / "keep").mkdir()
    (folder / "keep" / "file").write_text("kept")
    (folder / "empty").write_bytes(b"")
    (folder / "text").write_text("<html>not found</html>\n" * 100)
    (folder / "zip").write_bytes(b"PK\x03\x04" + bytes(100))
    (folder / "secret").write_bytes(b"x")
    (folder / "secret").chmod(0)
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    with suppress(PermissionError):  # Only root makes devices.
        os.mknod(folder / "device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    (folder / "recipes.py").write_text("import torch\nfrom neuronkit.build import Recipe\nrecipes = []\n")


def entries(folder: Path) -> list[Entry]:
    """Every entry point; their files are in `folder`."""
    torch.manual_seed(0)
    craft, reader, network, decoder = CRAFT(width=0.02).eval(), parseq(), Network().eval(), Decoder().eval()
    refiner = LinkRefiner(width=0.02).eval()
    image_spec, size_spec = TensorSpec("images", (2, 3, 32, 64)), TensorSpec("valid_size", (2, 2), "int32")
    images, sizes = torch.rand(2, 3, 32, 64), torch.tensor([[32, 64], [20, 30]], dtype=torch.int32)
    words = torch.rand(2, 3, 16, 32)
    static_craft = StaticCRAFT(craft, batch_size=2, height=32, width=64)
    static_parseq = StaticPARSeq(reader, batch_size=2)
    exact = neuronkit.exact_padding(network)
    greedy = neuronkit.static_greedy_decoder(
        decoder, max_length=3, bos_id=0, eos_id=1, memory=TensorSpec("memory", (2, 4, 8))
    )
    fixed = neuronkit.FixedShape(double, [image_spec])
    buckets = neuronkit.Buckets({(2, 3, 32, 64): double, (2, 3, 16, 32): double})
    tiled = neuronkit.Tiled(network, [TensorSpec("images", (1, 3, 32, 64))], overlap=4, stride=1)
    compiled = neuronkit.compile_for_inferentia(network, [image_spec], target="cpu", progress=False)
    finder = neuronkit.compile_for_inferentia(
        static_craft, target="cpu", progress=False, processor=CraftProcessor(canvas=(32, 64))
    )
    speller = neuronkit.compile_for_inferentia(
        static_parseq, target="cpu", progress=False, processor=ParseqProcessor(CHARSET, image_size=(16, 32))
    )
    artifact, finder_file, speller_file = (
        model.save(folder / name)
        for model, name in ((compiled, "model.pt"), (finder, "detector.pt"), (speller, "recognizer.pt"))
    )
    torch.save(craft.state_dict(), folder / "craft.pt")
    torch.save(reader.state_dict(), folder / "parseq.pt")
    with Replicas([double], [image_spec]) as closed:
        closed(images)
    replicas = Replicas([double, double], [image_spec])
    report = neuronkit.analyze(network, [image_spec], target="inf1")
    cost = neuronkit.estimate(network, [image_spec], target="inf2")
    emulated = neuronkit.emulate_autocast(network)
    cache = CompileCache(folder / "cache")
    parity = neuronkit.assert_parity(network, network, [(images,)])
    buffer = io.BytesIO()
    Image.new("RGB", (30, 20), "white").save(buffer, "PNG")
    png = buffer.getvalue()
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    maps = np.random.default_rng(1).random((2, 16, 32, 2)).astype(np.float32)
    letterboxes = [Letterbox.fit((20, 30), canvas=(32, 64)), Letterbox.fit((30, 60), canvas=(32, 64))]
    quad = np.array([[1, 1], [9, 1], [9, 5], [1, 5]], np.float32)
    box, charset = TextBox(quad), Charset(CHARSET)
    word = Word("ab", 0.5, box, (0.5, 0.5))
    page = Page((40, 60), (Line((word,)),), picture)
    finding, spelling = CraftProcessor(canvas=(32, 64)), ParseqProcessor(CHARSET, image_size=(16, 32))
    reading = DoctrProcessor(CHARSET, image_size=(16, 32))
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest()
    fused = neuronkit.compile_for_inferentia(
        StaticPARSeq(reader, batch_size=2, method="fused"), target="cpu", progress=False, verify=False
    )
    plan = neuronkit.plan_buckets([(20, 30), (50, 60)], 1)
    costs = compare_costs([cost])
    border, tokens = {"raw_images": True}, {"outputs": "tokens"}

    def slot(**arguments: Any) -> None:
        with cache.slot(**arguments) as found:
            found.record()

    pipeline = OCRPipeline(finder, speller, progress=False)
    (folder / "images").mkdir()
    for path in (folder / "images" / "a.png", folder / "page.png"):
        path.write_bytes(png)
    page.draw()
    recipe = {"name": "net", "model": lambda: (network, [image_spec]), "targets": ("cpu",), "shapes": {"a": {}}}
    accelerated = {
        **{"target": "cpu", "detector": finder, "recognizer": speller, "options": CompileOptions()},
        **{"op_whitelist": ("aten::relu",), "verify": False, "progress": False},
    }
    plain = {"example_inputs": [image_spec], "target": "inf1"}
    made_recipe = Recipe(**recipe)
    out = folder / "out"

    return [
        Entry(
            "neuronkit.integrations.doctr.accelerate", doctr.accelerate, {"predictor": predictor(), **accelerated}, 0.2
        ),
        Entry("neuronkit.integrations.doctr.restore", doctr.restore, {"predictor": predictor()}),
        Entry("neuronkit.integrations.easyocr.restore", easyocr.restore, {"reader": SimpleNamespace(detector=craft)}),
        Entry(
            "neuronkit.integrations.easyocr.accelerate",
            easyocr.accelerate,
            {
                "reader": SimpleNamespace(detector=craft, readtext=double),
                "canvas_size": 128,
                "canvases": [(32, 64)],
                "widths": [64],
                "batch_size": 2,
                **accelerated,
            },
            0.1,
        ),
        Entry(
            "neuronkit.integrations.huggingface.accelerate",
            huggingface.accelerate,
            {
                **{"model": network, "batch_size": 2, "sizes": neuronkit.HuggingFaceOptions(), "compiled": compiled},
                **{name: value for name, value in accelerated.items() if name not in ("detector", "recognizer")},
            },
        ),
        Entry("neuronkit.integrations.huggingface.restore", huggingface.restore, {"model": network}),
        # The one verb, its options and its result.
        Entry("neuronkit.TensorSpec", TensorSpec, {"name": "x", "shape": (2, 3), "dtype": "float32", "fill": 0.5}, 3),
        Entry("neuronkit.TensorSpec.check", image_spec.check, {"tensor": images}),
        Entry("neuronkit.TensorSpec.example", image_spec.example, {"seed": 3}),
        Entry("neuronkit.TensorSpec.of", TensorSpec.of, {"name": "x", "tensor": images}),
        Entry("neuronkit.TensorSpec.from_dict", TensorSpec.from_dict, {"fields": image_spec.to_dict()}, 2),
        Entry(
            "neuronkit.CompileOptions",
            CompileOptions,
            {
                **{"auto_cast": "all", "auto_cast_type": "bf16", "optlevel": 1, "model_type": "generic"},
                **{"cpu_operators": ("aten::relu",), "cpu_fallback": False, "dynamic_batch": False},
                **{"inline_weights": True, "neuroncores": 1, "timeout_s": 3.0, "extra_args": ("--x",)},
                **{"threads": 1, "opset": 17},
                **{"workdir": folder / "work", "cache_dir": folder / "cache"},
            },
            5,
        ),
        Entry(
            "neuronkit.compile_for_inferentia",
            neuronkit.compile_for_inferentia,
            {
                **{"model": network, "example_inputs": [image_spec], "target": "cpu", "op_whitelist": ("aten::relu",)},
                **{"options": CompileOptions(), "processor": finding, "verify": False, "progress": False},
            },
            0.5,
        ),
        Entry(
            "neuronkit.compile_for_inferentia",
            neuronkit.compile_for_inferentia,
            {"model": static_parseq, "target": "cpu", "processor": spelling, "verify": False, "progress": False},
            0.1,
        ),
        Entry("neuronkit.load", neuronkit.load, {"path": artifact}, 2),
        Entry("neuronkit.load", neuronkit.load, {"path": artifact, "sha256": digest, "neuroncore": None}, 1),
        Entry("neuronkit.CompiledModel.__call__", compiled.__call__, {"*": [images]}, 4),
        Entry("neuronkit.CompiledModel.__call__", finder.__call__, {"*": [images, sizes]}, 2),
        Entry("neuronkit.CompiledModel.__call__", speller.__call__, {"*": [words]}, 2),
        Entry("neuronkit.CompiledModel.save", compiled.save, {"path": out / "model.pt"}, 2),
        Entry("neuronkit.CompiledModel.forward", finder.forward, {"images": images, "valid_size": sizes}, 2),
        Entry("neuronkit.CompiledModel.check_sizes", finder.check_sizes, {"valid_size": sizes}),
        Entry("neuronkit.CompiledModel.step", fused.step, {"*": [words, torch.full((2, 4), -1, dtype=torch.int32)]}),
        Entry("neuronkit.CompiledModel.replace_weights", compiled.replace_weights, {"model": network}, 0.3),
        Entry("neuronkit.CompiledModel.to", compiled.to, {"device": "cpu"}),
        Entry("neuronkit.CompiledModel.train", compiled.train, {"mode": False}, 0.3),
        Entry("neuronkit.CompiledModel.replicate", compiled.replicate, {"copies": 2}),
        Entry(
            "neuronkit.assert_parity",
            neuronkit.assert_parity,
            {
                **{"actual": steady, "expected": steady, "inputs": [(images,)], "rtol": 1e-4, "atol": 1e-4},
                **{"task": lambda outputs: ["a", "b"], "agreement": lambda a, b: 1.0, "min_task_agreement": 0.5},
                "min_sqnr_db": 20.0,
            },
            3,
            own=("actual", "expected"),
        ),
        Entry(
            "neuronkit.compare_models",
            neuronkit.compare_models,
            {
                "models": [artifact, compiled],
                "inputs": [(images,)],
                "charset": None,
                "rtol": 1e-4,
                "atol": 1e-4,
                "rounds": 1,
            },
            0.2,
        ),
        Entry("neuronkit.ParityReport.to_dict", parity.to_dict, {}, 0.1),
        Entry("neuronkit.describe_environment", neuronkit.describe_environment, {"artifact": artifact}, 0.3),
        # What makes a graph static.
        Entry("neuronkit.make_static", neuronkit.make_static, {"model": reader, "family": "parseq", "batch_size": 2}),
        Entry(
            "neuronkit.make_static",
            neuronkit.make_static,
            {"model": craft, "family": None, "batch_size": 2, "options": CRAFTOptions(32, 64)},
        ),
        Entry("neuronkit.adapters.registry.families", registry.families, {}, 0.1),
        Entry("neuronkit.CRAFTOptions", CRAFTOptions, {"height": 32, "width": 64, **border, "features": False}, 2),
        Entry(
            "neuronkit.PARSeqOptions",
            PARSeqOptions,
            {"max_length": 2, "decoding": "ar", "refine_iters": 1, "method": "auto", "passes": 3, **border, **tokens},
            2,
        ),
        Entry("neuronkit.StaticCRAFT", StaticCRAFT, {"model": craft, "batch_size": 2, "height": 32, "width": 64}, 2),
        Entry("neuronkit.StaticCRAFT", StaticCRAFT, {"model": craft, "options": CRAFTOptions(32, 64)}),
        Entry("neuronkit.StaticPARSeq", StaticPARSeq, {"model": reader, "options": PARSeqOptions(max_length=2)}),
        Entry("neuronkit.StaticCRAFT.check_sizes", static_craft.check_sizes, {"valid_size": sizes}),
        Entry("neuronkit.StaticModel.for_target", static_parseq.for_target, {"is_neuron": True}, 0.3),
        Entry("neuronkit.StaticModel.forward", static_craft.forward, {"*": [images, sizes]}, 2, StaticCRAFT.forward),
        Entry("neuronkit.StaticModel.__call__", static_craft.__call__, {"*": [images, sizes]}, 2, StaticCRAFT.forward),
        Entry("neuronkit.StaticCRAFT.valid_output_sizes", static_craft.valid_output_sizes, {"valid_size": sizes}, 2),
        Entry("neuronkit.StaticModel.reference", static_craft.reference, {"*": [images, sizes]}, 2),
        Entry("neuronkit.StaticModel.check_inputs", static_craft.check_inputs, {"inputs": [images, sizes]}, 2),
        Entry("neuronkit.StaticModel.example_inputs", static_craft.example_inputs, {"seed": 3}),
        Entry("neuronkit.StaticModel.graphs", static_craft.graphs, {"rules": "any"}, 0.1),
        Entry("neuronkit.StaticModel.assemble", static_craft.assemble, {"compiled": {"main": double}}),
        Entry(
            "neuronkit.StaticPARSeq",
            StaticPARSeq,
            {
                **{"model": reader, "batch_size": 2, "max_length": 2, "decoding": "ar", "refine_iters": 1},
                "method": "stepwise",
            },
            2,
        ),
        Entry("neuronkit.StaticModel.forward", static_parseq.forward, {"*": [words]}, 2),
        Entry("neuronkit.StaticPARSeq.passes", static_parseq.passes, {"*": [words]}, 2),
        Entry("neuronkit.StaticModel.reference", static_parseq.reference, {"*": [words]}, 1),
        Entry(
            "neuronkit.static_greedy_decoder",
            neuronkit.static_greedy_decoder,
            {
                **{"decoder": decoder, "max_length": 3, "bos_id": 0, "eos_id": 1, "method": "fixed_point"},
                **tokens,
                "window": None,
                "memory": TensorSpec("memory", (2, 4, 8)),
            },
            3,
        ),
        Entry(
            "neuronkit.static_beam_search",
            neuronkit.static_beam_search,
            {
                **{"decoder": decoder, "num_beams": 2, "max_length": 3, "bos_id": 0, "eos_id": 1},
                **{"length_penalty": 0.5, "early_stopping": "never", "num_return_sequences": 1},
                "memory": TensorSpec("memory", (2, 4, 8)),
            },
            3,
        ),
        Entry("neuronkit.static_greedy_decoder.forward", greedy.forward, {"*": [torch.rand(2, 4, 8)]}, 2),
        Entry("neuronkit.static_greedy_decoder.tokens", greedy.tokens, {"memory": torch.rand(2, 4, 8)}, 2),
        Entry("neuronkit.static_greedy_decoder.passes", greedy.passes, {"*": [torch.rand(2, 4, 8)]}),
        Entry("neuronkit.exact_padding", neuronkit.exact_padding, {"module": network, "height": 32}, 1),
        Entry("neuronkit.exact_padding.forward", exact.forward, {"images": images, "valid_size": sizes}, 3),
        Entry("neuronkit.exact_padding.valid_output_sizes", exact.valid_output_sizes, {"valid_size": sizes}, 2),
        Entry(
            "neuronkit.exact_padding.fix_canvas",
            neuronkit.exact_padding(network).fix_canvas,
            {"height": 32, "width": 64, "device": "cpu"},
        ),
        Entry(
            "neuronkit.FixedShape",
            neuronkit.FixedShape,
            {
                **{"fn": static_craft, "specs": [image_spec, size_spec], "pad_value": 0.5, "valid_size": "valid_size"},
                "output_sizes": 0.5,
            },
            3,
        ),
        Entry(
            "neuronkit.FixedShape",
            neuronkit.FixedShape,
            {"fn": double, "specs": [image_spec], "pad_value": {"images": 0.5}},
        ),
        Entry("neuronkit.FixedShape.__call__", fixed.__call__, {"*": [images]}, 3),
        Entry("neuronkit.FixedShape.__call__", neuronkit.FixedShape(static_craft).__call__, {"*": [images, sizes]}, 2),
        Entry("neuronkit.FixedShape.run", fixed.run, {"items": [(images,), (images,)]}, 2),
        Entry("neuronkit.FixedShape.lay", fixed.lay, {"inputs": (images[:1, :, :20],)}),
        Entry("neuronkit.FixedShape.cut", fixed.cut, {"outputs": images, "size": (20, 64)}),
        Entry("neuronkit.FixedShape.output_sizes", fixed.output_sizes, {"size": (20, 30)}, 2),
        Entry(
            "neuronkit.Buckets",
            neuronkit.Buckets,
            {
                **{"fns_by_shape": {(2, 3, 32, 64): double, (2, 3, 16, 32): double}, "pad_value": 0.5},
                **{"dtype": "float32", "costs": {(2, 3, 32, 64): 2.0, (2, 3, 16, 32): 1.0}, "output_sizes": 1.0},
                "valid_size": None,
            },
            3,
        ),
        Entry("neuronkit.Buckets.__call__", buckets.__call__, {"*": [images]}, 2),
        Entry("neuronkit.Buckets.__call__", buckets.__call__, {"*": [[images, images[0]]]}, 2),
        Entry("neuronkit.Buckets.route", buckets.route, {"size": (20, 30), "rows": 2}, 2),
        Entry("neuronkit.Buckets.measure", buckets.measure, {"repeats": 1}, 0.5),
        Entry(
            "neuronkit.plan_buckets",
            neuronkit.plan_buckets,
            {
                **{"observed_shapes": [(20, 30), (50, 60), (90, 20)], "count": 2, "multiple": (32, 32)},
                **{"max_size": (128, 128), "max_batch_size": 4, "batch_pixels": 40_000},
            },
            3,
        ),
        Entry(
            "neuronkit.Tiled",
            neuronkit.Tiled,
            {
                **{"fn": network, "specs": [TensorSpec("images", (1, 3, 32, 64))], "module": network, "overlap": 4},
                **{"stride": 1, "pad_value": 0.0, "output_sizes": 1.0, "valid_size": None},
            },
            2,
        ),
        Entry("neuronkit.Tiled.__call__", tiled.__call__, {"images": torch.rand(1, 3, 40, 70)}, 2),
        Entry("neuronkit.Tiled.measure_error", tiled.measure_error, {"images": torch.rand(1, 3, 40, 70)}),
        Entry(
            "neuronkit.static.shapes.replicas.Replicas",
            Replicas,
            {"functions": [double, double], "specs": [image_spec], "copies": 2, "processor": None, "carry": None},
        ),
        Entry("neuronkit.static.shapes.replicas.Replicas.__call__", replicas.__call__, {"*": [images]}, 2),
        Entry(
            "neuronkit.static.shapes.replicas.Replicas.step",
            fused.replicate(2).step,
            {"*": [words, torch.full((2, 4), -1, dtype=torch.int32)]},
        ),
        Entry(
            "neuronkit.static.shapes.BucketPlan.plot", plan.plot, {"path": out / "plan.png", "observed": [(2, 3)]}, 0.2
        ),
        Entry("neuronkit.analysis.CostTable.plot", costs.plot, {"path": out / "costs.png"}, 0.2),
        Entry("neuronkit.static.shapes.replicas.Replicas.__call__", closed.__call__, {"*": [images]}, 0.2),
        # What is known before a compile.
        Entry(
            "neuronkit.analyze",
            neuronkit.analyze,
            {"model": network, **plain, "op_whitelist": ("aten::relu",), "cpu_operators": ()},
            0.6,
        ),
        Entry(
            "neuronkit.estimate",
            neuronkit.estimate,
            {"model": network, **plain, "auto_cast": "all", "auto_cast_type": "bf16", "link_gb_s": 8.0} | {"passes": 2},
            0.6,
        ),
        Entry(
            "neuronkit.emulate_autocast",
            neuronkit.emulate_autocast,
            {"model": network, "auto_cast": "all", "auto_cast_type": "bf16"},
        ),
        Entry("neuronkit.analysis.EmulatedModel.forward", emulated.forward, {"*": [images]}),
        Entry(
            "neuronkit.analysis.check_operators",
            check_operators,
            {
                "report": report,
                "op_whitelist": ("aten::relu",),
                "cpu_operators": ("aten::relu",),
                "cpu_fallback": False,
            },
            2,
        ),
        Entry(
            "neuronkit.analysis.OperatorReport.allowing",
            report.allowing,
            {"op_whitelist": ("aten::relu",), "cpu_operators": ("aten::relu",)},
        ),
        Entry("neuronkit.analysis.OperatorReport.having", report.having, {"status": "supported"}, 0.5),
        Entry(
            "neuronkit.analysis.compare_costs",
            compare_costs,
            {"reports": {"a": cost}, "rank_by": "ms", "link_gb_s": 8.0},
            2,
        ),
        Entry(
            "neuronkit.analysis.CostReport.on",
            cost.on,
            {"target": "inf1", "auto_cast": "all", "auto_cast_type": "bf16", "link_gb_s": 8.0},
            2,
        ),
        # Models and their files.
        Entry("neuronkit.models.CRAFT", CRAFT, {"width": 0.01}, 0.5),
        Entry("neuronkit.models.LinkRefiner", LinkRefiner, {"width": 0.02}, 0.5),
        Entry(
            "neuronkit.models.LinkRefiner.forward",
            refiner.forward,
            {"score_maps": images[:, :2].permute(0, 2, 3, 1), "features": images[:, :1]},
            2,
        ),
        Entry("neuronkit.models.RefinedCRAFT", RefinedCRAFT, {"craft": craft, "refiner": refiner}, 0.5),
        Entry("neuronkit.models.RefinedCRAFT.forward", RefinedCRAFT(craft, refiner).forward, {"images": images}, 2),
        Entry("neuronkit.models.CRAFT.forward", craft.forward, {"images": images}, 2),
        Entry(
            "neuronkit.models.PARSeq",
            PARSeq,
            {
                **{
                    "charset": CHARSET,
                    "max_label_length": 3,
                    "img_size": (16, 32),
                    "patch_size": (4, 8),
                    "embed_dim": 16,
                },
                **{"enc_num_heads": 2, "enc_mlp_ratio": 1, "enc_depth": 1, "dec_num_heads": 2, "dec_mlp_ratio": 1},
                **{"dec_depth": 1, "decode_ar": True, "refine_iters": 1, "dropout": 0.1},
            },
            3,
        ),
        Entry("neuronkit.models.PARSeq.forward", reader.forward, {"images": words, "max_length": 2}, 2),
        Entry(
            "neuronkit.models.PARSeq.decode",
            reader.decode,
            {
                **{"tokens": torch.zeros(2, 4, dtype=torch.long), "memory": torch.rand(2, 16, 16)},
                **{"content_mask": None, "padding_mask": None, "query": None, "query_mask": None},
            },
        ),
        Entry("neuronkit.models.PARSeq.encode", reader.encode, {"images": words}),
        Entry(
            "neuronkit.models.load_checkpoint",
            load_checkpoint,
            {"model_or_class": CRAFT, "path": folder / "craft.pt"},
            1,
        ),
        Entry(
            "neuronkit.models.load_checkpoint",
            load_checkpoint,
            {"model_or_class": PARSeq, "path": folder / "parseq.pt", "charset": CHARSET, "heads": (2, 2)},
            1,
        ),
        Entry(
            "neuronkit.models.any_file.open_model",
            open_model,
            {"path": folder / "parseq.pt", "family": "parseq", "charset": CHARSET},
        ),
        # Pictures, boxes and pages.
        Entry("neuronkit.ocr.Charset", Charset, {"characters": CHARSET}),
        Entry("neuronkit.ocr.Charset.named", Charset.named, {"charset": 36}),
        Entry("neuronkit.ocr.Charset.adapt", charset.adapt, {"text": "AB"}),
        Entry("neuronkit.ocr.Charset.encode", charset.encode, {"labels": ["ab", "c"]}),
        Entry("neuronkit.ocr.Charset.decode", charset.decode, {"ids": [1, 2]}),
        Entry(
            "neuronkit.ocr.CraftProcessor",
            CraftProcessor,
            {
                **{
                    "canvas_size": 128,
                    "canvas": None,
                    "mag_ratio": 1.5,
                    "mean": (0.5, 0.5, 0.5),
                    "std": (0.5, 0.5, 0.5),
                    "raw_images": False,
                },
                **{
                    "text_threshold": 0.7,
                    "link_threshold": 0.4,
                    "low_text": 0.4,
                    "polygons": True,
                    "count_characters": True,
                },
                **{"min_area": 10, "min_polygon_side": 10, "crop_padding": False},
            },
            3,
        ),
        Entry("neuronkit.ocr.CraftProcessor.from_dict", CraftProcessor.from_dict, {"settings": finding.to_dict()}, 2),
        Entry("neuronkit.ocr.CraftProcessor.letterbox", finding.letterbox, {"source_size": (20, 30)}),
        Entry("neuronkit.ocr.CraftProcessor.like", CraftProcessor.like, {"origin": "easyocr", "low_text": 0.4}),
        Entry("neuronkit.ocr.CraftProcessor.preprocess", finding.preprocess, {"images": [picture, picture[:20]]}, 3),
        Entry(
            "neuronkit.ocr.CraftProcessor.postprocess",
            finding.postprocess,
            {"score_maps": maps, "letterboxes": letterboxes},
            3,
        ),
        Entry(
            "neuronkit.ocr.ParseqProcessor",
            ParseqProcessor,
            {"charset": CHARSET, "image_size": (16, 32), "tall_ratio": 1.5, "raw_images": False, "extra_classes": 2},
            2,
        ),
        Entry("neuronkit.ocr.ParseqProcessor.from_dict", ParseqProcessor.from_dict, {"settings": spelling.to_dict()}),
        Entry("neuronkit.ocr.ParseqProcessor.preprocess", spelling.preprocess, {"crops": [picture, picture[:20]]}, 2),
        Entry(
            "neuronkit.ocr.ParseqProcessor.postprocess",
            spelling.postprocess,
            {"logits": np.zeros((2, 4, 9), np.float32)},
            2,
        ),
        Entry(
            "neuronkit.ocr.CtcProcessor",
            CtcProcessor,
            {
                **{"charset": CHARSET, "image_size": (16, 32), "tall_ratio": 1.5, "raw_images": False},
                **{"channels": 1, "keep_ratio": True, "smallest_width": 4, "extra_classes": 0},
            },
            2,
        ),
        Entry("neuronkit.ocr.CtcProcessor.lines", CtcProcessor(CHARSET).lines, {"crops": [picture]}),
        Entry("neuronkit.ocr.CtcProcessor.valid_widths", CtcProcessor(CHARSET).valid_widths, {"crops": [picture]}),
        Entry(
            "neuronkit.ocr.CtcProcessor.from_dict",
            CtcProcessor.from_dict,
            {"settings": CtcProcessor(CHARSET).to_dict()},
        ),
        Entry("neuronkit.ocr.CtcProcessor.preprocess", CtcProcessor(CHARSET).preprocess, {"crops": [picture]}),
        Entry(
            "neuronkit.ocr.CtcProcessor.postprocess",
            CtcProcessor(CHARSET).postprocess,
            {"logits": np.zeros((2, 4, 9), np.float32)},
        ),
        Entry("neuronkit.ocr.processor_from_dict", processor_from_dict, {"settings": spelling.to_dict()}),
        Entry(
            "neuronkit.ocr.fold_normalization", fold_normalization, {"model": static_craft, "processor": finding}, 0.3
        ),
        Entry(
            "neuronkit.ocr.Letterbox",
            Letterbox,
            {"source_size": (20, 30), "resized_size": (20, 30), "canvas_size": (32, 64), "scale": 1.0},
            2,
        ),
        Entry(
            "neuronkit.ocr.Letterbox.fit",
            Letterbox.fit,
            {"source_size": (20, 30), "canvas_size": 64, "mag_ratio": 1.5, "canvas": None},
            2,
        ),
        Entry("neuronkit.ocr.Letterbox.to_canvas", letterboxes[0].to_canvas, {"points": quad, "stride": 2}),
        Entry("neuronkit.ocr.Letterbox.to_source", letterboxes[0].to_source, {"points": quad, "stride": 2}),
        Entry("neuronkit.ocr.TextBox", TextBox, {"quad": quad, "confidence": 0.5, "polygon": quad, "characters": 2}, 2),
        Entry(
            "neuronkit.ocr.Recognition", Recognition, {"text": "ab", "confidence": 0.5, "char_confidences": (0.5, 0.5)}
        ),
        Entry(
            "neuronkit.ocr.Word", Word, {"text": "ab", "confidence": 0.5, "box": box, "char_confidences": (0.5, 0.5)}, 2
        ),
        Entry("neuronkit.ocr.Line", Line, {"words": (word,)}),
        Entry(
            "neuronkit.ocr.Page",
            Page,
            {
                "size": (40, 60),
                "lines": (Line((word,)),),
                "source": picture,
                "scores": maps[0],
                "letterbox": letterboxes[0],
                "scale": 0.5,
                "rotation": 0,
                "warnings": ("small",),
                "error": None,
                "dpi": 72.0,
            },
            2,
        ),
        Entry(
            "neuronkit.ocr.Page.draw",
            page.draw,
            {"image": picture, "boxes": True, "text": True, "heat_map": False, "font": None},
            2,
        ),
        Entry("neuronkit.ocr.Page.to_json", page.to_json, {"indent": 2}),
        Entry("neuronkit.ocr.Page.pixels", page.pixels, {"image": picture}),
        Entry("neuronkit.ocr.Page.save", page.save, {"path": folder / "page.md", "format": "alto"}),
        Entry(
            "neuronkit.ocr.save_pages", save_pages, {"pages": [page], "path": folder / "pages.json", "format": None}, 2
        ),
        Entry("neuronkit.ocr.crop_words", crop_words, {"image": picture, "boxes": [box], "vertical_ratio": 1.5}, 2),
        Entry(
            "neuronkit.ocr.find_boxes",
            find_boxes,
            {
                **{
                    "region": maps[0, ..., 0],
                    "affinity": maps[0, ..., 1],
                    "text_threshold": 0.7,
                    "link_threshold": 0.4,
                },
                **{"low_text": 0.4, "polygons": True, "count_characters": True, "min_area": 3, "min_polygon_side": 3},
            },
            3,
        ),
        Entry("neuronkit.ocr.ImagePage", ImagePage, {"source": picture, "index": 0, "dpi": 72.0, "rotation": 0}),
        Entry("neuronkit.ocr.image_pages", image_pages, {"source": picture, "dpi": 72.0, "rotation": 90}),
        Entry(
            "neuronkit.ocr.page_stream",
            lambda **arguments: list(islice(page_stream(**arguments), 100)),
            {"sources": [picture], "pages": "1-", "dpi": 72.0, "rotation": 90},
            documented=page_stream,
        ),
        Entry(
            "neuronkit.ocr.load_images",
            load_images,
            {"source": np.dstack([picture, picture[:, :, :1]]), "max_pixels": 10_000, "background": "white"},
            2,
        ),
        Entry("neuronkit.ocr.load_image", load_image, {"source": picture, "max_pixels": 10_000, "background": None}, 2),
        Entry("neuronkit.ocr.load_image", load_image, {"source": folder / "text", "max_pixels": 10_000}, 2),
        Entry(
            "neuronkit.ocr.OCRPipeline",
            OCRPipeline,
            {
                **{
                    "detector": finder,
                    "recognizer": speller,
                    "detector_processor": finding,
                    "recognizer_processor": spelling,
                },
                **{
                    "recognizer_batch_size": 2,
                    "vertical_ratio": 1.5,
                    "max_pixels": 10_000,
                    "keep_scores": True,
                    "progress": False,
                    "background": "white",
                    "min_scale": 0.5,
                    "rotations": (90, 180),
                },
            },
            3,
        ),
        Entry("neuronkit.ocr.OCRPipeline.__call__", pipeline.__call__, {"images": [picture, picture[:20]]}, 1),
        Entry(
            "neuronkit.ocr.OCRPipeline.read",
            lambda images: list(islice(pipeline.read(images), 5)),
            {"images": [picture]},
            1,
            OCRPipeline.read,
        ),
        Entry("neuronkit.ocr.OCRPipeline.read_batch", pipeline.read_batch, {"images": [picture, picture[:20]]}),
        Entry(
            "neuronkit.ocr.OCRPipeline.read_pages",
            lambda source: list(pipeline.read_pages(source)),
            {"source": picture},
            1,
            OCRPipeline.read_pages,
        ),
        Entry(
            "neuronkit.ocr.OCRPipeline.read_folder",
            pipeline.read_folder,
            {"folder": folder / "images", "output": out / "pages", "pattern": "*.png"},
            1,
        ),
        Entry(
            "neuronkit.ocr.OCRPipeline.read_files",
            pipeline.read_files,
            {
                **{"sources": [folder / "images", folder / "page.png"], "folder": out / "files", "format": "json"},
                **{"pages": "1-3", "dpi": 72.0, "rotation": 90, "progress": str},
            },
            2,
            own=("progress",),
        ),
        Entry("neuronkit.ocr.metrics.quad_iou", quad_iou, {"first": quad, "second": quad + 1}),
        Entry("neuronkit.ocr.metrics.box_f1", box_f1, {"first": [box], "second": [box], "min_iou": 0.9}),
        Entry("neuronkit.ocr.metrics.text_accuracy", text_accuracy, {"first": ["a"], "second": ["b"]}),
        # Many artifacts, servers.
        Entry(
            "neuronkit.build.Recipe",
            Recipe,
            {**recipe, "options": CompileOptions(), "op_whitelist": ("aten::relu",), "processor": finding},
            2,
        ),
        Entry(
            "neuronkit.build.build",
            build,
            {"file": folder / "recipes.py", "output": out / "build", "jobs": 1, "only": ["a*"], "progress": False},
            1,
        ),
        Entry("neuronkit.cache.CompileCache", CompileCache, {"directory": folder / "cache", "max_bytes": 1000}),
        Entry("neuronkit.build.Recipe.options_for", made_recipe.options_for, {"target": "cpu"}, 0.3),
        Entry("neuronkit.cache.CompileCache.prune", cache.prune, {"max_bytes": 1000}, 0.5),
        Entry("neuronkit.cache.CompileCache.path", cache.path, {"key": "0" * 64}, 0.5),
        Entry("neuronkit.cache.CompileCache.nearest", cache.nearest, {"graph": "main", "ingredients": {"a": 1}}, 0.5),
        Entry(
            "neuronkit.cache.CompileCache.slot",
            slot,
            {"ingredients": {"a": 1}, "graph": "main", "deadline": 1.0, "report": str},
            0.5,
            CompileCache.slot,
        ),
        Entry("neuronkit.targets.find_target", find_target, {"name": "inf2"}),
        Entry("neuronkit.serving.cores.parse_cores", cores.parse_cores, {"text": "0-3", "name": "cores"}),
        Entry("neuronkit.serving.cores.format_cores", cores.format_cores, {"cores": [0, 1]}),
        Entry(
            "neuronkit.serving.cores.describe_cores",
            cores.describe_cores,
            {"environment": {"NEURON_RT_VISIBLE_CORES": "0-3"}},
        ),
        Entry(
            "neuronkit.serving.triton.export_repository",
            triton.export_repository,
            {
                **{
                    "artifacts": [finder_file, speller_file],
                    "directory": out / "models",
                    "reader": "reader",
                    "instances": 1,
                },
                **{"max_queue_delay_us": 10, "max_queue_size": 10, "queue_timeout_s": 3.0, "max_pixels": 1000},
            },
            0.5,
        ),
        Entry(
            "neuronkit.serving.ray.build_app",
            ray.build_app,
            {
                **{"detector": finder_file, "recognizer": speller_file, "batch_size": 2, "batch_wait_s": 0.01},
                **{"min_replicas": 1, "max_replicas": 2, "num_cpus": 1.0, "neuron_cores": None, "timeout_s": 60.0},
                **{"body_timeout_s": 10.0, "max_request_bytes": 1 << 24, "max_pixels": 50_000_000, "attempts": 3},
                **{"max_queued_requests": 256, "drain_s": 30.0, "health_check_s": 10.0},
            },
            1,
        ),
        Entry(
            "neuronkit.serving.ray.read_dataset",
            ray.read_dataset,
            {
                "images": folder / "images",
                "output": out / "dataset",
                "detector": finder_file,
                "recognizer": speller_file,
                **{"workers": 1, "num_cpus": 1.0, "neuron_cores": None, "shard_size": 4, "max_pixels": 10_000},
                **{"attempts": 1, "progress": False},
            },
            1,
        ),
        Entry(
            "neuronkit.serving.ray.read_results",
            lambda output: list(ray.read_results(output)),
            {"output": out / "dataset"},
            0.5,
            ray.read_results,
        ),
        # Options of families, charts of names.
        Entry(
            "neuronkit.DoctrOptions",
            neuronkit.DoctrOptions,
            {"height": 32, "width": 128, "method": "auto", **border, **tokens},
        ),
        Entry("neuronkit.DoctrDetectorOptions", neuronkit.DoctrDetectorOptions, {"height": 96, "width": 128, **border}),
        Entry("neuronkit.LineOptions", neuronkit.LineOptions, {"width": 320, "height": 32, **border, **tokens}),
        Entry(
            "neuronkit.SAROptions",
            neuronkit.SAROptions,
            {"height": 32, "width": 128, "method": "stepwise", **border, **tokens},
        ),
        Entry(
            "neuronkit.TRBAOptions", neuronkit.TRBAOptions, {"max_length": 5, "method": "stepwise", **border, **tokens}
        ),
        Entry(
            "neuronkit.HuggingFaceOptions",
            neuronkit.HuggingFaceOptions,
            {**{"max_length": 5, "source_length": 8, "height": 32, "width": 32}, **{"num_beams": 1, "method": "auto"}}
            | {
                "prompt": (1, 2),
                "window": 16,
                "image_processor": None,
                "image_mean": (0.5,),
                "image_std": (0.5,),
                **border,
                **tokens,
            },
            3,
        ),
        Entry(
            "neuronkit.ocr.DoctrProcessor",
            neuronkit.ocr.DoctrProcessor,
            {"charset": CHARSET, "image_size": (32, 64), "confidence": "mean", "mean": (0.5,) * 3, "std": (0.5,) * 3}
            | {"raw_images": False, "ctc": False},
            2,
        ),
        Entry("neuronkit.ocr.DoctrProcessor.from_dict", DoctrProcessor.from_dict, {"settings": reading.to_dict()}),
        Entry("neuronkit.ocr.DoctrProcessor.preprocess", reading.preprocess, {"crops": [picture, picture[:20]]}),
        Entry(
            "neuronkit.ocr.DoctrProcessor.postprocess", reading.postprocess, {"logits": np.zeros((2, 4, 9), np.float32)}
        ),
    ]

"""The commonest mistakes, one a line: the message names the fix that works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from neuronkit import (
    Buckets,
    CompiledModel,
    CompileOptions,
    FixedShape,
    PARSeqOptions,
    StaticCRAFT,
    StaticPARSeq,
    TensorSpec,
    Tiled,
    analyze,
    assert_parity,
    compile_for_inferentia,
    estimate,
    exact_padding,
    load,
    make_static,
    plan_buckets,
)
from neuronkit.analysis import emulate_autocast
from neuronkit.build import Recipe, build
from neuronkit.cache import CompileCache
from neuronkit.errors import NeuronKitError
from neuronkit.models import CRAFT, PARSeq, load_checkpoint
from neuronkit.ocr import CraftProcessor, Letterbox, OCRPipeline, ParseqProcessor, load_image
from neuronkit.tensors import tensor

CHARSET = "abcdefgh"


@dataclass
class Things:
    """Small models, their artifacts, and inputs that are right."""

    folder: Path
    craft: CRAFT
    parseq: PARSeq
    static: StaticCRAFT
    detector: CompiledModel
    recognizer: CompiledModel
    network: nn.Module
    images: torch.Tensor
    sizes: torch.Tensor
    crops: torch.Tensor
    picture: Any
    letterbox: Letterbox

    def compile(self, model: Any, *inputs: Any, **options: Any) -> Any:
        return compile_for_inferentia(model, *inputs, **{"target": "cpu", "progress": False, **options})

    def compare(self, given: Any, **options: Any) -> Any:
        """With an agreement that gives this."""
        wanted = {"task": lambda outputs: str(outputs.shape), "agreement": lambda a, b: given, **options}
        return assert_parity(self.network, self.network, [self.images], **wanted)

    def report(self) -> Any:
        return analyze(self.network, [self.images], target="inf2")


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Things:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("mistakes")
    craft = CRAFT(width=0.02).eval()
    sizes = {"embed_dim": 16, "enc_num_heads": 2, "enc_depth": 1, "enc_mlp_ratio": 1, "dec_num_heads": 2}
    parseq = PARSeq(CHARSET, max_label_length=3, img_size=(16, 32), dec_mlp_ratio=1, **sizes).eval()  # type: ignore[arg-type]
    static = StaticCRAFT(craft, batch_size=2, height=32, width=64)
    settings: dict[str, Any] = {"target": "cpu", "progress": False, "verify": False}
    detector = compile_for_inferentia(static, processor=CraftProcessor(canvas=(32, 64)), **settings)
    processor = ParseqProcessor(CHARSET, image_size=(16, 32))
    recognizer = compile_for_inferentia(StaticPARSeq(parseq, batch_size=2), processor=processor, **settings)
    detector.save(folder / "detector.pt")
    torch.save(craft.state_dict(), folder / "craft.pt")
    torch.save(parseq.state_dict(), folder / "parseq.pt")
    torch.save(craft, folder / "whole.pt")
    return Things(
        *(folder, craft, parseq, static, detector, recognizer, nn.Conv2d(3, 4, 3)),
        *(torch.rand(2, 3, 32, 64), torch.tensor([[32, 64], [20, 30]], dtype=torch.int32), torch.rand(2, 3, 16, 32)),
        *(np.zeros((20, 30, 3), np.uint8), Letterbox.fit((20, 30), canvas=(32, 64))),
    )


MISTAKES: dict[str, tuple[Callable[[Things], Any], str]] = {
    # What a compiled model is called with.
    "float64": (lambda t: t.detector(t.images.double(), t.sizes), "images.to(torch.float32)"),
    "half": (lambda t: t.detector(t.images.half(), t.sizes), "images.to(torch.float32)"),
    "bytes": (lambda t: t.detector(t.images.byte(), t.sizes), "scale bytes as the model's processor does"),
    "channels last": (lambda t: t.detector(t.images.permute(0, 2, 3, 1), t.sizes), "images.permute(0, 3, 1, 2)"),
    "no batch": (lambda t: t.detector(t.images[0], t.sizes), "images.unsqueeze(0)"),
    "another batch": (lambda t: t.detector(t.images[:1], t.sizes[:1]), "wrap it in neuronkit.FixedShape"),
    "another size": (lambda t: t.detector(t.images[..., :32], t.sizes), "neuronkit.FixedShape"),
    "int64 sizes": (lambda t: t.detector(t.images, t.sizes.long()), "valid_size.to(torch.int32)"),
    "arrays": (lambda t: t.detector(t.images.numpy(), t.sizes.numpy()), "torch.from_numpy(images)"),
    "no sizes": (lambda t: t.detector(t.images), "expected 2: images"),
    "one list": (lambda t: t.detector([t.images, t.sizes]), "expected 2: images"),
    "exchanged": (lambda t: t.detector(t.sizes, t.images), "another order; expected images"),
    "too many": (lambda t: t.recognizer(t.crops, t.sizes), "expected 1: images"),
    "sparse": (lambda t: t.detector(t.images.to_sparse(), t.sizes), "images.to_dense()"),
    "meta": (lambda t: t.detector(t.images.to("meta"), t.sizes), "torch.zeros((2, 3, 32, 64))"),
    # What a static model is called with.
    "inputs exchanged": (lambda t: t.static(t.sizes, t.images), "give (images, valid_size)"),
    "width first": (lambda t: t.static(t.images, t.sizes.flip(1)), "valid_size.flip(1)"),
    "size of zero": (lambda t: t.static(t.images, t.sizes * 0), "give the part of each image that is no padding"),
    "sizes as floats": (lambda t: t.static(t.images, t.sizes.float()), "valid_size.to(torch.int32)"),
    "sizes as a list": (lambda t: t.static(t.images, t.sizes.tolist()), "torch.tensor(valid_size)"),
    "one size": (lambda t: t.static(t.images, t.sizes[0]), "valid_size.unsqueeze(0)"),
    "a path": (lambda t: t.static("page.png", t.sizes), "neuronkit.ocr.load_image"),
    "no batch, channels last": (lambda t: t.craft(t.images[0].permute(1, 2, 0)), "permute(2, 0, 1).unsqueeze(0)"),
    "a list of images": (lambda t: t.craft(list(t.images)), "torch.stack(tuple(images))"),
    "crops of another size": (lambda t: t.parseq(t.images), "a processor's preprocess"),
    "a tiny image": (lambda t: t.craft(t.images[..., :8]), "at least 16 pixels"),
    # Fixed shapes.
    "too large": (lambda t: FixedShape(t.static)(torch.rand(1, 3, 64, 64)), "neuronkit.Tiled"),
    "grey": (lambda t: FixedShape(t.static)(t.images[:, :1]), "images.expand(-1, 3, -1, -1)"),
    "a class as fn": (lambda t: FixedShape(CRAFT), "make an instance, CRAFT(...)"),
    "a path as fn": (lambda t: FixedShape("detector.pt"), "neuronkit.load(path)"),
    "no specs": (lambda t: FixedShape(t.network), "TensorSpec('images', shape)"),
    "a bad factor": (lambda t: FixedShape(t.static, output_sizes=float("nan")), "above 0"),
    "a list of graphs": (lambda t: Buckets([t.static]), "{(N, C, H, W): callable}"),  # type: ignore[arg-type]
    "a size as key": (lambda t: Buckets({32: t.static}), "give a tuple"),  # type: ignore[dict-item]
    "neither overlap nor module": (lambda t: Tiled(t.static), "give module"),
    "conjugates as sizes": (lambda t: plan_buckets(torch.ones(2, 2, dtype=torch.complex64).conj(), 2), "list of pairs"),
    "one shape": (lambda t: plan_buckets((20, 30), 2), "give a list of pairs"),  # type: ignore[arg-type]
    # Specs.
    "a size of None": (lambda t: TensorSpec("images", (None, 3, 32, 128)), "Give the largest size"),  # type: ignore[arg-type]
    "a size of -1": (lambda t: TensorSpec("images", (-1, 3, 32, 128)), "neuronkit.FixedShape pad smaller inputs"),
    "float": (lambda t: TensorSpec("images", (1, 3), "float"), "did you mean 'float"),
    "a colour in a name": (lambda t: TensorSpec("\x1b[31mred", (1, 3)), "without line ends and control characters"),
    "a name of two lines": (lambda t: TensorSpec.of("a\nb", t.images), "without line ends and control characters"),
    "a text as name": (lambda t: TensorSpec("a" * 2_000_000, (1, 3)), "give a shorter name"),
    "a number as shape": (lambda t: TensorSpec("images", 3), "give a tuple"),  # type: ignore[arg-type]
    "shape first": (lambda t: TensorSpec((1, 3), "images"), "got name=(1, 3); expected text"),  # type: ignore[arg-type]
    # Compiling and analysing.
    "a mistyped target": (lambda t: t.compile(t.static, target="inf 2"), "did you mean 'inf2'?"),
    "a target in capitals": (lambda t: analyze(t.network, [t.images], target="Inf1"), "did you mean 'inf1'?"),
    "a target without a chip": (lambda t: estimate(t.network, [t.images], target="cpu"), "expected one of 'inf1'"),
    "a class as model": (lambda t: t.compile(CRAFT), "make an instance: CRAFT(...)"),
    "a path as model": (lambda t: t.compile("craft.pt"), "load_checkpoint(model, path)"),
    "a path to make static": (lambda t: make_static("craft.pt"), "load_checkpoint(model, path)"),  # type: ignore[arg-type]
    "a class to make static": (lambda t: StaticPARSeq(PARSeq), "make an instance: PARSeq(...)"),  # type: ignore[arg-type]
    "weights to make static": (lambda t: StaticCRAFT({}, height=64, width=64), "model.load_state_dict(...)"),  # type: ignore[arg-type]
    "weights as model": (lambda t: t.compile(t.craft.state_dict()), "model.load_state_dict(...)"),
    "no inputs": (lambda t: t.compile(t.network), "neuronkit.make_static(model)"),
    "a shape as inputs": (lambda t: t.compile(t.network, (1, 3, 8, 8)), "[TensorSpec('images', (1, 3, 8, 8))]"),
    "an array as input": (lambda t: t.compile(t.network, t.images.numpy()), "torch.from_numpy(example_inputs)"),
    "inputs of a static model": (lambda t: t.compile(t.static, [t.images]), "leave example_inputs out"),
    "options as a dict": (lambda t: t.compile(t.static, options={"optlevel": 2}), "give CompileOptions(...)"),
    "one operator kind": (lambda t: t.compile(t.static, op_whitelist="aten::relu"), "('aten::relu',)"),
    "a kind without namespace": (lambda t: t.compile(t.static, op_whitelist=["relu"]), "'aten::embedding'"),
    "a class as processor": (lambda t: t.compile(t.static, processor=CraftProcessor), "make an instance"),
    "the other processor": (lambda t: t.compile(t.static, processor=ParseqProcessor()), "expected a CraftProcessor"),
    "a word as flag": (lambda t: t.compile(t.static, verify="no"), "expected True or False"),
    "a number as text": (lambda t: CompileOptions(optlevel="2"), "write 2"),  # type: ignore[arg-type]
    "a mistyped choice": (lambda t: CompileOptions(auto_cast="matmul"), "did you mean 'matmult'?"),
    "minutes as text": (lambda t: CompileOptions(timeout_s="60"), "convert it with float()"),  # type: ignore[arg-type]
    "an infinite tolerance": (lambda t: assert_parity(t.network, t.network, [t.images], rtol=float("inf")), "finite"),
    "nothing to compare": (lambda t: assert_parity(t.network, t.network, []), "give one for each call"),
    "no tensor to call with": (lambda t: assert_parity(t.network, t.network, [()]), "give one tensor at least"),
    "no agreement": (lambda t: t.compare(None), "from 0 to 1"),
    "an agreement in words": (lambda t: t.compare("1"), "from 0 to 1"),
    "an agreement of an array": (lambda t: t.compare(np.ones((2, 3))), "as a whole"),
    "an agreement of a tensor": (lambda t: t.compare(t.images), "as a whole"),
    "an agreement in per cent": (lambda t: t.compare(98.0), "from 0 to 1"),
    "a huge agreement": (lambda t: t.compare(10**5000), "from 0 to 1"),
    "no number": (lambda t: t.compare(float("nan")), "from 0 to 1"),
    "a value as agreement": (lambda t: t.compare(1, agreement=1.0), "expected something to call"),
    "an agreement of one": (lambda t: t.compare(1, agreement=len), "compares what `task` returns"),
    "an array as type": (lambda t: CompileOptions(auto_cast="all", auto_cast_type=np.ones(3)), "'bf16'"),  # type: ignore[arg-type]
    "an array as type to emulate": (lambda t: emulate_autocast(t.network, auto_cast_type=np.ones(3)), "'bf16'"),  # type: ignore[arg-type]
    "an array as status": (lambda t: t.report().having(np.ones((2, 3))), "expected one of 'supported'"),
    "a mistyped status": (lambda t: t.report().having("suported"), "did you mean 'supported'?"),
    # Static models.
    "options of another family": (lambda t: make_static(t.craft, options=PARSeqOptions()), "CRAFTOptions"),
    "no canvas": (lambda t: make_static(t.craft), "CRAFTOptions(...)"),
    "an unknown model": (lambda t: make_static(t.network), "docs/adding-a-family.md"),
    "a mistyped family": (lambda t: make_static(t.parseq, family="parsec"), "did you mean 'parseq'?"),
    "the wrong model": (lambda t: StaticPARSeq(t.craft), "give the dynamic model"),
    "too long words": (lambda t: StaticPARSeq(t.parseq, max_length=30), "1 to 3"),
    "a class to pad": (lambda t: exact_padding(nn.Conv2d), "make an instance: Conv2d(...)"),  # type: ignore[arg-type]
    "train mode": (lambda t: exact_padding(nn.BatchNorm2d(3))(t.images, t.sizes), "call eval() first"),
    # Files.
    "a checkpoint to load": (lambda t: load(t.folder / "craft.pt"), "neuronkit.models.load_checkpoint(model, path)"),
    "an artifact as checkpoint": (lambda t: load_checkpoint(CRAFT, t.folder / "detector.pt"), "neuronkit.load"),
    "a pickled model": (lambda t: load_checkpoint(CRAFT, t.folder / "whole.pt"), "model.state_dict()"),
    "the wrong weights": (lambda t: load_checkpoint(CRAFT, t.folder / "parseq.pt"), "the right class"),
    "a mistyped file": (lambda t: load(t.folder / "detecter.pt"), "did you mean"),
    "a model to load": (lambda t: load(t.craft), "give a str or a pathlib.Path"),  # type: ignore[arg-type]
    "arguments exchanged": (lambda t: load_checkpoint(t.folder / "craft.pt", CRAFT), "load_checkpoint(model, path)"),
    "a folder to save to": (lambda t: t.detector.save(t.folder), "give a file's name in it"),
    "no folder to save to": (lambda t: t.detector.save(t.folder / "no" / "x.pt"), "make it first"),
    "a file as cache": (lambda t: CompileCache(t.folder / "craft.pt"), "give a directory"),
    "a mistyped target in a recipe": (lambda t: Recipe("n", lambda: None, targets=["inf3"]), "did you mean 'inf"),
    "no build file": (lambda t: build(t.folder / "build.py", t.folder / "out"), "give the path of a Python file"),
    # Pictures and pages.
    "models exchanged": (lambda t: OCRPipeline(t.recognizer, t.detector), "exchanged"),
    "paths as models": (lambda t: OCRPipeline("detector.pt", "recognizer.pt"), "neuronkit.load(path)"),  # type: ignore[arg-type]
    "classes as models": (lambda t: OCRPipeline(CRAFT, PARSeq), "make an instance"),
    "no processor": (lambda t: OCRPipeline(t.craft, t.parseq), "detector_processor=CraftProcessor()"),
    "one image": (lambda t: CraftProcessor().preprocess(t.picture), "in a list"),
    "a tensor as image": (lambda t: load_image(t.images[0]), "image.transpose(1, 2, 0)"),
    "an address": (lambda t: load_image("https://example.org/page.png"), "download it"),
    "no image": (lambda t: load_image(t.folder / "page.png"), "check the path"),
    "channels first": (lambda t: CraftProcessor().postprocess(t.images[:1, :2], [t.letterbox]), "(N, H/2, W/2, 2)"),
    "the wrong charset": (lambda t: ParseqProcessor(36).postprocess(np.zeros((1, 4, 95), "f4")), "the charset that"),
    "a canvas of 100": (lambda t: CraftProcessor(canvas=(100, 100)), "give (128, 128)"),
    "one side": (lambda t: CraftProcessor(canvas=64), "give a tuple"),  # type: ignore[arg-type]
    "per cent": (lambda t: CraftProcessor(text_threshold=70), "from 0 to 1"),
    "a list of characters": (lambda t: ParseqProcessor(list("abc")), "''.join(characters)"),  # type: ignore[arg-type]
    "a charset of 37": (lambda t: ParseqProcessor(37), "give the characters themselves"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_message_names_the_fix(things: Things, mistake: str) -> None:
    make, fix = MISTAKES[mistake]
    with pytest.raises(NeuronKitError) as caught:
        make(things)
    assert fix in str(caught.value)


# What a message says is tried, where it is a line of code.
FIXED = [
    name for name in MISTAKES if name in ("channels last", "half", "float64", "int64 sizes", "sparse", "width first")
]


@pytest.mark.parametrize("mistake", FIXED)
def test_the_fix_works(things: Things, mistake: str) -> None:
    with pytest.raises(NeuronKitError) as caught:
        MISTAKES[mistake][0](things)
    given = {"images": things.images, "valid_size": things.sizes}
    wrong = {
        "channels last": {"images": things.images.permute(0, 2, 3, 1)},
        "half": {"images": things.images.half()},
        "float64": {"images": things.images.double()},
        "int64 sizes": {"valid_size": things.sizes.long()},
        "sparse": {"images": things.images.to_sparse()},
        "width first": {"valid_size": things.sizes.flip(1)},
    }[mistake]
    ((name, value),) = wrong.items()
    message = str(caught.value).removesuffix(
        ", or wrap it in neuronkit.FixedShape to serve smaller inputs and other batches"
    )
    mended = eval(message.rsplit(": ", 1)[1], {"torch": torch, name: value})
    things.detector(**{**given, name: tensor(name, mended)})

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuronkit.adapters.craft import FAMILY, CRAFTOptions, StaticCRAFT, matches
from neuronkit.adapters.registry import make_static
from neuronkit.compile import compile_for_inferentia
from neuronkit.errors import OptionError, SpecError, UnknownModelError
from neuronkit.models.craft import CRAFT
from neuronkit.models.refiner import LinkRefiner, RefinedCRAFT
from neuronkit.ocr import CraftProcessor
from neuronkit.static.shapes.fixed import FixedShape
from tests.static.networks import lively

HEIGHT, WIDTH = 160, 224
TOLERANCE = 1e-6


@pytest.fixture(scope="module")
def model() -> CRAFT:
    torch.manual_seed(0)
    return lively(CRAFT(width=0.125))


@pytest.fixture(scope="module")
def static(model: CRAFT) -> StaticCRAFT:
    return StaticCRAFT(model, batch_size=3, height=HEIGHT, width=WIDTH)


def error(actual: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    return max(float((a - e).abs().max() / e.abs().max()) for a, e in zip(actual, expected))


def cut(output: Tensor, row: int, height: int, width: int) -> Tensor:
    return output[row : row + 1, : height // 2, : width // 2]


sizes = st.tuples(st.integers(1, HEIGHT // 32), st.integers(1, WIDTH // 32)).map(lambda s: (s[0] * 32, s[1] * 32))


@settings(max_examples=25, deadline=None)
@given(st.lists(sizes, min_size=3, max_size=3), st.integers(0, 1000))
def test_padded_rows_equal_unpadded_runs(
    model: CRAFT, static: StaticCRAFT, valid: list[tuple[int, int]], seed: int
) -> None:
    images = torch.randn(3, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        scores, features = static(images, torch.tensor(valid, dtype=torch.int32))
        assert scores.shape == (3, HEIGHT // 2, WIDTH // 2, 2)
        assert torch.isfinite(scores).all()
        assert torch.isfinite(features).all()
        for row, (height, width) in enumerate(valid):
            alone = model(images[row : row + 1, :, :height, :width])
            inside = cut(scores, row, height, width), cut(features.permute(0, 2, 3, 1), row, height, width)
            assert error(inside, (alone[0], alone[1].permute(0, 2, 3, 1))) <= TOLERANCE


@pytest.mark.parametrize("garbage", [1e6, float("nan"), float("inf")])
def test_what_lies_outside_the_valid_area_does_not_matter(static: StaticCRAFT, garbage: float) -> None:
    images, valid_size = static.example_inputs(seed=4)
    dirty = images.clone()
    for row, (height, width) in enumerate(valid_size.tolist()):
        dirty[row, :, height:] = garbage
        dirty[row, :, :, width:] = garbage
    with torch.no_grad():
        for clean, other in zip(static(images, valid_size), static(dirty, valid_size)):
            assert torch.equal(clean, other)


def test_plain_padding_leaks_into_the_result(model: CRAFT, static: StaticCRAFT) -> None:
    images, valid_size = static.example_inputs(seed=1)
    for row, (height, width) in enumerate(valid_size.tolist()):
        images[row, :, height:] = 0
        images[row, :, :, width:] = 0
    with torch.no_grad():
        naive = static.meaningful(model(images), (images, valid_size))
        assert error(naive, static.reference(images, valid_size)) > 1e-3


def test_reference_is_the_original_on_each_row_alone(model: CRAFT, static: StaticCRAFT) -> None:
    images, valid_size = static.example_inputs(seed=2)
    scores, features = static.reference(images, valid_size)
    height, width = valid_size[1].tolist()
    with torch.no_grad():
        alone, _ = model(images[1:2, :, :height, :width])
    assert torch.equal(cut(scores, 1, height, width), alone)
    assert not scores[1, height // 2 :].any()
    assert not features[1, :, :, width // 2 :].any()


def test_example_inputs_are_valid_and_differ(static: StaticCRAFT) -> None:
    seen: set[Any] = set()
    for seed in range(8):
        images, valid_size = static.example_inputs(seed)
        for spec, tensor in zip(static.specs, (images, valid_size)):
            spec.check(tensor)
        assert (valid_size % 32 == 0).all()
        assert (valid_size >= 32).all()
        assert (valid_size <= torch.tensor([HEIGHT, WIDTH])).all()
        seen.update(map(tuple, valid_size.tolist()))
    assert len(seen) > 5


def test_meaningful_zeroes_exactly_what_lies_outside(static: StaticCRAFT) -> None:
    ones = torch.ones(3, HEIGHT // 2, WIDTH // 2, 2), torch.ones(3, 4, HEIGHT // 2, WIDTH // 2)
    valid_size = torch.tensor([[32, 64], [160, 224], [96, 32]], dtype=torch.int32)
    scores, features = static.meaningful(ones, (torch.empty(0), valid_size))
    assert scores[..., 0].sum((1, 2)).tolist() == [16 * 32, 80 * 112, 48 * 16]
    assert features[:, 0].sum((1, 2)).tolist() == [16 * 32, 80 * 112, 48 * 16]


def test_an_optimizer_step_on_the_original_shows() -> None:
    model = lively(CRAFT(width=0.125), seed=1).train()
    static = StaticCRAFT(model, height=64, width=96)
    inputs = static.example_inputs()
    with torch.no_grad():
        before = static(*inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(inputs[0])[0].sum().backward()
    optimizer.step()
    with torch.no_grad():
        after = static(*inputs)
    assert error(after, before) > 1e-2
    assert error(after, static.reference(*inputs)) <= TOLERANCE
    assert all(module.training for module in model.modules())


def test_a_layer_that_is_replaced_on_the_original_shows() -> None:
    model = lively(CRAFT(width=0.125))
    static = StaticCRAFT(model, height=64, width=96)
    inputs = static.example_inputs()
    with torch.no_grad():
        before = static(*inputs)
        model.conv_cls[8] = nn.Conv2d(2, 2, 1)
        after = static(*inputs)
        assert error(after, before) > 1e-2
        assert error(after, static.reference(*inputs)) <= TOLERANCE


def test_the_original_is_not_touched(model: CRAFT) -> None:
    snapshot = copy.deepcopy(model.state_dict())
    modules = {name: id(module) for name, module in model.named_modules()}
    static = StaticCRAFT(model, height=64, width=96)
    static.to(torch.float64)
    with torch.no_grad():
        static(*static.example_inputs())
    static.graphs()
    assert {name: id(module) for name, module in model.named_modules()} == modules
    assert all(layer.inplace for layer in model.modules() if isinstance(layer, nn.ReLU))
    assert all(torch.equal(value, snapshot[name]) for name, value in model.state_dict().items())


def test_graphs_of_a_model_in_train_mode_compute_as_in_eval_mode() -> None:
    model = lively(CRAFT(width=0.125), seed=2).train()
    static = StaticCRAFT(model, height=64, width=64)
    ((graph, _),) = static.graphs().values()
    inputs = static.example_inputs()
    with torch.no_grad():
        scores = graph(*inputs)[0]
    torch.testing.assert_close(scores, static.meaningful(static.reference(*inputs), inputs)[0], rtol=0, atol=1e-4)
    assert model.training


def test_graph_traces_to_operators_of_inf1_without_bilinear_upsampling(
    static: StaticCRAFT, inf1_operators: frozenset[str]
) -> None:
    ((module, specs),) = static.graphs().values()
    traced = torch.jit.trace(module, static.example_inputs(), check_trace=False)
    kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    assert "aten::_convolution" in kinds
    assert "aten::upsample_bilinear2d" not in kinds
    assert kinds <= inf1_operators
    inputs = static.example_inputs(seed=7)
    assert [s.shape for s in specs] == [tuple(i.shape) for i in inputs]
    assert error(torch.jit.freeze(traced)(*inputs), static.reference(*inputs)) <= TOLERANCE


def test_graph_moves_to_another_device_as_a_whole(static: StaticCRAFT) -> None:
    ((module, _),) = static.graphs().values()
    module.to("meta")
    inputs = [tensor.to("meta") for tensor in static.example_inputs()]
    assert [out.shape for out in module(*inputs)] == [(3, HEIGHT // 2, WIDTH // 2, 2), (3, 4, HEIGHT // 2, WIDTH // 2)]


@pytest.mark.xla
def test_graph_lowers_through_xla_without_scatter_or_sync(
    static: StaticCRAFT, lower: Callable[[nn.Module, tuple[Tensor, ...]], tuple[tuple[Tensor, ...], str]]
) -> None:
    ((module, _),) = static.graphs().values()
    inputs = static.example_inputs(seed=5)
    outputs, hlo = lower(module, inputs)
    assert "convolution" in hlo
    assert "scatter" not in hlo
    assert "custom-call" not in hlo
    assert error(outputs, static.reference(*inputs)) <= TOLERANCE


def test_make_static_finds_the_family_by_class_and_by_structure() -> None:
    class Renamed(CRAFT):
        pass

    Renamed.__module__ = "somewhere.models.craftnet"
    for model in (CRAFT(width=0.125), Renamed(width=0.125)):
        static = make_static(model, batch_size=2, options=CRAFTOptions(64, 96))
        assert isinstance(static, StaticCRAFT)
        assert static.specs[0].shape == (2, 3, 64, 96)
    assert not matches(nn.Sequential(nn.Conv2d(3, 3, 1)))
    assert FAMILY.name == StaticCRAFT.family == "craft"


def test_an_implementation_that_returns_a_dictionary() -> None:
    class Hezar(CRAFT):
        def forward(self, images: Tensor, ratio_values: Tensor | None = None) -> dict[str, Tensor | None]:  # type: ignore[override]
            return {"logits": super().forward(images)[0], "ratio_values": ratio_values}

    torch.manual_seed(0)
    model = lively(Hezar(width=0.125)).double()
    plain = CRAFT(width=0.125).double().eval()
    plain.load_state_dict(model.state_dict())
    static = StaticCRAFT(model, height=64, width=96)
    inputs = static.example_inputs(seed=1)
    expected = StaticCRAFT(plain, height=64, width=96).reference(*inputs)
    with torch.no_grad():
        assert error(static(*inputs), expected) <= 1e-12
        assert error(static.reference(*inputs), expected) == 0
    assert not model.upconv4._forward_hooks


@pytest.fixture(scope="module")
def refined() -> RefinedCRAFT:
    torch.manual_seed(0)
    return RefinedCRAFT(lively(CRAFT(width=0.125)), lively(LinkRefiner(width=0.125))).eval()


@settings(max_examples=10, deadline=None)
@given(valid=st.lists(sizes, min_size=2, max_size=2), seed=st.integers(0, 1000))
def test_the_link_refiner_sees_the_image_alone(refined: RefinedCRAFT, valid: list[tuple[int, int]], seed: int) -> None:
    images = torch.randn(2, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(seed))
    static = make_static(refined, batch_size=2, options=CRAFTOptions(HEIGHT, WIDTH, features=False))
    assert isinstance(static, StaticCRAFT)
    dirty = images.clone()
    with torch.no_grad():
        for row, (height, width) in enumerate(valid):
            dirty[row, :, height:], dirty[row, :, :, width:] = float("nan"), 1e3
        maps = static(dirty, torch.tensor(valid, dtype=torch.int32))
        for row, (height, width) in enumerate(valid):
            # As clovaai's program joins the two.
            scores, features = refined.craft(images[row : row + 1, :, :height, :width])
            links = refined.refiner(scores, features)
            ours = cut(maps, row, height, width)
            assert error((ours[..., :1], ours[..., 1:]), (scores[..., :1], links)) <= TOLERANCE
            assert float((links - scores[..., 1:]).abs().max()) > 0.1


def test_a_refined_detector_compiles_with_its_processor(refined: RefinedCRAFT) -> None:
    processor = CraftProcessor.like("clovaai", canvas=(64, 96), mag_ratio=1.0, text_threshold=0.1, polygons=True)
    static = make_static(refined, options=CRAFTOptions(64, 96))
    compiled = compile_for_inferentia(static, target="cpu", processor=processor)
    page = torch.randint(0, 256, (40, 70, 3), generator=torch.Generator().manual_seed(0)).byte().numpy()
    canvas, letterboxes = compiled.processor.preprocess([page])
    height, width = letterboxes[0].valid_size
    outputs = compiled(torch.from_numpy(canvas), torch.tensor([[height, width]], dtype=torch.int32))
    with torch.no_grad():
        alone, features = refined(torch.from_numpy(canvas[:, :, :height, :width]))
    scores = cut(outputs[0], 0, height, width)
    assert error((scores, outputs[1][:, :, : height // 2, : width // 2]), (alone, features)) <= TOLERANCE


def test_parts_of_a_refined_detector_that_do_not_fit() -> None:
    with pytest.raises(OptionError, match="got refiner='refine'; expected"):
        RefinedCRAFT(CRAFT(width=0.125), "refine")  # type: ignore[arg-type]

    class WithoutFeatures(CRAFT):
        def forward(self, images: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
            return {"logits": super().forward(images)[0]}

    with pytest.raises(SpecError, match="from craft; expected score maps and features, which the refiner reads"):
        RefinedCRAFT(WithoutFeatures(width=0.125), LinkRefiner(width=0.125))(torch.zeros(1, 3, 64, 96))
    with pytest.raises(SpecError, match=r"features: got \(1, 5, 8, 8\) float32; expected \(1, 4, 8, 8\)"):
        LinkRefiner(width=0.125)(torch.zeros(1, 8, 8, 2), torch.zeros(1, 5, 8, 8))


def test_images_of_another_size_than_the_canvas_are_refused(static: StaticCRAFT) -> None:
    with pytest.raises(SpecError, match=r"images: got \(3, 3, 64, 64\) float32; expected \(any, 3, 160, 224\)"):
        static(torch.zeros(3, 3, 64, 64), torch.full((3, 2), 32, dtype=torch.int32))
    with pytest.raises(SpecError, match=r"got Tensor; expected tensors .*valid_size: int32\[3, 2\]"):
        static(torch.zeros(3, 3, HEIGHT, WIDTH))
    with pytest.raises(SpecError, match=r"valid_size: got \(2,\) int32"):
        static(torch.zeros(3, 3, HEIGHT, WIDTH), torch.full((2,), 32, dtype=torch.int32))


def test_specs_follow_the_dtype_of_the_weights() -> None:
    static = StaticCRAFT(lively(CRAFT(width=0.125)).double(), height=64, width=64)
    assert static.specs[0].dtype == "float64"
    inputs = static.example_inputs()
    with torch.no_grad():
        assert error(static(*inputs), static.reference(*inputs)) <= 1e-13


@pytest.mark.parametrize("size", [(0, 64), (64, 31), (64.0, 64), (64, None)])
def test_a_canvas_that_cannot_be_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(SpecError, match="at least 32"):
        StaticCRAFT(CRAFT(width=0.125), height=size[0], width=size[1])


def test_sizes_on_which_craft_cannot_run_are_refused() -> None:
    static = StaticCRAFT(CRAFT(width=0.125), height=64, width=96)
    images = torch.zeros(1, 3, 64, 96)
    small = torch.tensor([[64, 15]], dtype=torch.int32)
    message = "cannot run on 64x15 pixels: node .*nothing left"
    with pytest.raises(SpecError, match=message):
        static(images, small)
    with pytest.raises(SpecError, match=message):
        FixedShape(static)(images, small)
    for valid_size in ([[0, 64]], [[64, 97]], [[64, 96], [64, 96]]):
        with pytest.raises(SpecError, match="valid_size"):
            static(images, torch.tensor(valid_size, dtype=torch.int32))


def test_what_is_no_craft_is_refused_at_once() -> None:
    with pytest.raises(UnknownModelError, match=r"got model='craft'; .*load_checkpoint\(model, path\)"):
        StaticCRAFT("craft", height=64, width=64)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="exact_padding cannot rewrite"):
        StaticCRAFT(nn.Linear(2, 2), height=64, width=64)
    with pytest.raises(SpecError, match="batch_size=0"):
        StaticCRAFT(CRAFT(width=0.125), batch_size=0, height=64, width=64)


def test_another_backbone_serves_as_well() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 4, 3, stride=2, padding=1)
            self.second = nn.Conv2d(4, 2, 3, padding=1)

        def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
            features = self.first(images)
            return self.second(features.relu()).permute(0, 2, 3, 1), features

    static = StaticCRAFT(lively(Small()), height=64, width=96, batch_size=2)
    inputs = static.example_inputs()
    with torch.no_grad():
        assert error(static(*inputs), static.reference(*inputs)) <= TOLERANCE


@pytest.mark.peers
def test_the_public_object_is_recognised_and_equal() -> None:
    from easyocr.craft import CRAFT as EasyOCRCRAFT

    # At full width, float32 convolutions on maps of different sizes differ by 1e-6 on their own.
    model = lively(EasyOCRCRAFT(pretrained=False)).double()
    static = make_static(model, batch_size=2, options=CRAFTOptions(96, 128))
    assert isinstance(static, StaticCRAFT)
    inputs = static.example_inputs(seed=3)
    with torch.no_grad():
        assert error(static(*inputs), static.reference(*inputs)) <= 1e-12


def test_the_original_of_no_rows_has_the_shapes_of_the_static_model(static: StaticCRAFT) -> None:
    nothing = torch.zeros(0, 3, HEIGHT, WIDTH), torch.zeros(0, 2, dtype=torch.int32)
    assert [t.shape for t in static.reference(*nothing)] == [t.shape for t in static(*nothing)]

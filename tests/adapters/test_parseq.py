"""StaticPARSeq computes what the dynamic model computes, up to each row's first EOS."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import CompileOptions, FixedShape, StaticPARSeq, make_static
from neuronkit.demo.render import render_word
from neuronkit.demo.weights import load_parseq
from neuronkit.errors import OptionError, SpecError, UnknownModelError
from neuronkit.models import PARSeq
from neuronkit.ocr import ParseqProcessor
from neuronkit.static.decoding.loops import after_eos, until_eos
from neuronkit.targets import find_target
from tests.adapters.parseq_models import TINY, images, lively


def assert_equal_up_to_eos(actual: Tensor, dynamic: Tensor, tolerance: float = 1e-4) -> None:
    assert torch.isfinite(actual).all()
    actual = actual[:, : dynamic.shape[1]]
    kept = ~after_eos(dynamic.argmax(-1), [0])
    assert torch.equal(actual.argmax(-1)[kept], dynamic.argmax(-1)[kept])
    assert (actual - dynamic)[kept].abs().max() < tolerance


def compile_for_cpu(static: StaticPARSeq) -> object:
    compiled = find_target("cpu").compile(static.graphs(), options=CompileOptions(), progress=lambda stage: None)
    return static.assemble(compiled.callables)


def dynamic_logits(model: PARSeq, batch: Tensor) -> Tensor:
    # Beyond one layer the original cannot refine once it has stopped early; all steps run give the same otherwise.
    deep = len(model.decoder.layers) > 1 and model.refine_iters > 0
    with torch.no_grad():
        return model(batch, model.max_label_length if deep else None)


# Any two of these settings meet in each of their values.
@pytest.mark.parametrize(
    ("charset", "length", "depth", "refine_iters"),
    [(36, 25, 1, 0), (94, 50, 2, 0), (36, 50, 1, 1), (94, 25, 2, 1), (36, 25, 2, 2), (94, 50, 1, 2)],
)
def test_equals_the_dynamic_model(charset: int, length: int, depth: int, refine_iters: int) -> None:
    sizes = {"max_label_length": length, "dec_depth": depth, "refine_iters": refine_iters}
    for batch, eos_bias in ((1, 0.0), (3, 0.25), (8, 0.5)):
        model = lively(length + depth, charset, eos_bias=eos_bias, **sizes)
        inputs = images(batch)
        dynamic = dynamic_logits(model, inputs)
        for method in ("fixed_point", "stepwise", "unrolled"):
            static = StaticPARSeq(model, batch_size=batch, method=method)
            assert_equal_up_to_eos(static(inputs), dynamic)
            if method == "fixed_point" or (method == "stepwise" and batch == 3):
                assert_equal_up_to_eos(compile_for_cpu(static)(inputs), dynamic)  # type: ignore[operator]


def test_unrolled_compiles_into_one_graph_without_loop_or_branch() -> None:
    model = lively(11, eos_bias=0.5, max_label_length=12, refine_iters=1)
    static = StaticPARSeq(model, batch_size=3, method="unrolled")
    compiled = compile_for_cpu(static)
    assert_equal_up_to_eos(compiled(images(3)), dynamic_logits(model, images(3)))  # type: ignore[operator]
    kinds = {node.kind() for node in compiled.graph.nodes()}  # type: ignore[attr-defined]
    assert not {"prim::Loop", "prim::If", "prim::CallMethod"} & kinds


def test_the_comparison_above_sees_early_and_late_ends() -> None:
    ends: set[int | None] = set()
    for seed in range(25, 53):
        predictions = dynamic_logits(lively(seed, eos_bias=0.5, refine_iters=0), images(8)).argmax(-1)
        ends |= {row.tolist().index(0) if 0 in row else None for row in predictions}
    assert None in ends
    assert len(ends) > 5


def test_tokens_do_depend_on_context() -> None:
    # Otherwise the null-context guess would be right already and the tests above would show nothing.
    model = lively(0, refine_iters=0)
    inputs = images(8)
    exact, guess = StaticPARSeq(model, batch_size=8), StaticPARSeq(model, batch_size=8, decoding="nar")
    assert not torch.equal(exact(inputs).argmax(-1), guess(inputs).argmax(-1))
    assert exact.passes(inputs) > 3


def test_nar_without_refinement_is_the_single_null_context_pass() -> None:
    model = lively(1)
    static = StaticPARSeq(model, batch_size=2, decoding="nar", refine_iters=0)
    original = copy.deepcopy(model)
    original.decode_ar, original.refine_iters = False, 0
    inputs = images(2)
    with torch.no_grad():
        torch.testing.assert_close(static(inputs), original(inputs), rtol=0, atol=1e-4)
    assert static.passes(inputs) == 1


@pytest.mark.parametrize("refine_iters", [1, 2])
def test_nar_with_refinement(refine_iters: int) -> None:
    model = lively(2, eos_bias=0.5, decode_ar=False, refine_iters=refine_iters)
    inputs = images(4)
    with torch.no_grad():
        torch.testing.assert_close(StaticPARSeq(model, batch_size=4)(inputs), model(inputs), rtol=0, atol=1e-4)


def test_shorter_max_length() -> None:
    model = lively(3)
    static = StaticPARSeq(model, max_length=7)
    inputs = images(1)
    with torch.no_grad():
        assert_equal_up_to_eos(static(inputs), model(inputs, 7))
    assert static(inputs).shape == (1, 8, 37)


@pytest.mark.parametrize("method", ["fixed_point", "stepwise", "unrolled"])
def test_float64_is_exact_to_its_own_rounding(method: str) -> None:
    model = lively(4, refine_iters=1, dec_depth=2, max_label_length=12).double()
    static = StaticPARSeq(model, batch_size=3, method=method)
    inputs = images(3).double()
    assert_equal_up_to_eos(static(inputs), dynamic_logits(model, inputs), 1e-9)
    assert_equal_up_to_eos(compile_for_cpu(static)(inputs), dynamic_logits(model, inputs), 1e-9)  # type: ignore[operator]


HALF = pytest.param(torch.float16, marks=pytest.mark.torch2)  # torch 1.13 has no half kernels for the CPU


@pytest.mark.parametrize("method", ["fixed_point", "stepwise", "unrolled"])
@pytest.mark.parametrize("dtype", [HALF, torch.bfloat16])
def test_half_precision_reads_what_the_dynamic_model_reads(method: str, dtype: torch.dtype) -> None:
    # Trained weights: those of a random model are so close to ties that another rounding reads other tokens.
    model = load_parseq().to(dtype)
    crops = [render_word(np.random.default_rng(i))[0] for i in range(8)]
    inputs = torch.from_numpy(ParseqProcessor(charset=model.charset).preprocess(crops)).to(dtype)
    static = StaticPARSeq(model, batch_size=8, method=method)
    expected = until_eos(dynamic_logits(model, inputs), 0)
    assert len(set(map(tuple, expected))) == 8
    for read in (static, compile_for_cpu(static)):
        logits = read(inputs)  # type: ignore[operator]
        assert logits.dtype == dtype
        assert until_eos(logits, 0) == expected


def test_rows_do_not_influence_each_other() -> None:
    model = lively(5, eos_bias=0.5, refine_iters=1)
    inputs = images(6)
    whole = StaticPARSeq(model, batch_size=6)(inputs)
    for i in range(6):
        alone = StaticPARSeq(model)(inputs[i : i + 1])
        assert_equal_up_to_eos(whole[i : i + 1], alone)


@pytest.mark.parametrize("method", ["fixed_point", "stepwise", "unrolled"])
@pytest.mark.parametrize("refine_iters", [0, 1])
def test_batches_may_be_filled_up_and_split(method: str, refine_iters: int) -> None:
    # FixedShape refuses a model whose rows influence one another, be it after a row's end only.
    static = StaticPARSeq(lively(5, eos_bias=0.3), batch_size=4, refine_iters=refine_iters, method=method)
    inputs = images(7, 5)
    with torch.no_grad():
        assert torch.allclose(FixedShape(static)(inputs), static(inputs), atol=1e-4)


def test_follows_the_weights_after_an_optimizer_step_and_leaves_the_model_as_it_was() -> None:
    model = lively(6).train()
    model.head.eval()
    static = StaticPARSeq(model)
    compiled = compile_for_cpu(static)
    inputs = images(1)
    before = static(inputs)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    model(inputs, 5).square().mean().backward()
    optimizer.step()
    assert not torch.allclose(static(inputs), before)
    assert torch.allclose(compiled(inputs), before, atol=1e-4)  # type: ignore[operator]
    assert (model.training, model.head.training, model.dropout.training) == (True, False, True)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    reference = static.reference(inputs)
    assert_equal_up_to_eos(static(inputs), reference)
    assert all(torch.equal(value, kept[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert (model.decode_ar, model.refine_iters) == (True, 1)


def test_static_model_and_original_are_independent_modules() -> None:
    model = lively(7).train()
    static = StaticPARSeq(model)
    static.eval()
    assert model.training
    assert list(static.state_dict()) == []


def test_wrapped_models_are_unwrapped() -> None:
    model = lively(8)
    inputs = images(1)
    expected = StaticPARSeq(model)(inputs)
    assert torch.equal(make_static(nn.DataParallel(model))(inputs), expected)


def test_graphs_hold_no_loop_no_branch_and_only_operators_of_inf1() -> None:
    model = lively(9, 94, max_label_length=50, dec_depth=2, refine_iters=2)
    report = neuronkit.analyze(StaticPARSeq(model), target="inf1")
    assert report.unsupported == {}
    assert not {"prim::Loop", "prim::If"} & set(report.counts)
    assert report.total < 1000
    for name, (_, specs) in StaticPARSeq(model).graphs().items():
        assert not {"int64", "float64"} & {spec.dtype for spec in specs}, name


def test_passes_counts_guess_causal_passes_and_refinements() -> None:
    model = lively(10, refine_iters=2)
    settled = StaticPARSeq(model, refine_iters=0).passes(images(1))
    assert StaticPARSeq(model).passes(images(1)) == settled + 2
    assert 2 <= settled <= 27


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"max_length": 26}, SpecError, "max_length=26: this model reads words of 1 to 25 characters"),
        ({"max_length": 0}, SpecError, "max_length=0"),
        ({"decoding": "beam"}, OptionError, "got decoding='beam'; expected one of None, 'ar', 'nar'"),
        ({"method": "magic"}, OptionError, "got method='magic'"),
        ({"refine_iters": -1}, OptionError, "refine_iters=-1"),
        ({"refine_iters": 1.5}, OptionError, "got refine_iters=1.5; expected a whole number"),
        ({"max_length": "5"}, SpecError, "got max_length='5'; expected a whole number"),
        ({"batch_size": 0}, SpecError, "got batch_size=0; expected a whole number of at least 1"),
    ],
)
def test_refuses_what_it_cannot_do(arguments: dict[str, object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        StaticPARSeq(PARSeq(36, **TINY), **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [nn.Linear(2, 2), "parseq", None])
def test_what_is_no_parseq_is_refused(model: object) -> None:
    message = r"got Linear, which does not have PARSeq's parts|got model=.*expected an nn.Module"
    with pytest.raises(UnknownModelError, match=message):
        StaticPARSeq(model)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ((), "got nothing; expected tensors .images: float32"),
        ((torch.zeros(2, 3, 32, 128).numpy(),), "got images=an ndarray .*torch.from_numpy"),
        (
            (torch.zeros(3, 32, 128),),
            r"images: got \(3, 32, 128\) float32; expected \(any, 3, 32, 128\) float32; add the batch",
        ),
        ((torch.zeros(2, 3, 32, 64),), r"images: got \(2, 3, 32, 64\) float32"),
        ((torch.zeros(2, 3, 32, 128, dtype=torch.uint8),), r"images: got \(2, 3, 32, 128\) uint8"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        StaticPARSeq(PARSeq(36, **TINY), batch_size=2)(*inputs)  # type: ignore[arg-type]


def test_make_static_names_the_families_it_knows() -> None:
    with pytest.raises(UnknownModelError, match=r"Linear is of no known family \('craft', 'parseq'.*adding-a-family"):
        make_static(nn.Linear(2, 2))
    with pytest.raises(UnknownModelError, match=r"needs none: neuronkit.analyze\(model, inputs, target=...\) says"):
        make_static(nn.Linear(2, 2))
    with pytest.raises(UnknownModelError, match="got family='nonsense'; expected one of"):
        make_static(nn.Linear(2, 2), family="nonsense")
    with pytest.raises(UnknownModelError, match="got a Linear without convolutions"):
        make_static(nn.Linear(2, 2), family="crnn")
    with pytest.raises(OptionError, match="family 'parseq' takes PARSeqOptions, got int"):
        make_static(PARSeq(36, **TINY), options=3)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="batch_size=0"):
        make_static(PARSeq(36, **TINY), batch_size=0)  # type: ignore[arg-type]

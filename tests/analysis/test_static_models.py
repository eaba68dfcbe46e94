"""The static models hold nothing that a Neuron compiler refuses, and compute the same through torch-xla."""

import pytest

import neuronkit
from neuronkit import StaticCRAFT, StaticPARSeq
from neuronkit.analysis import analyze, check_operators
from neuronkit.models import CRAFT, PARSeq

SMALL = dict(embed_dim=48, enc_depth=1, max_label_length=50)


def craft():
    return StaticCRAFT(CRAFT(width=0.05).eval(), height=64, width=96)


def parseq(**settings):
    return lambda: StaticPARSeq(PARSeq(36, **SMALL), batch_size=2, **settings)


MODELS = {
    "craft": craft,
    "parseq": parseq(),
    "parseq unrolled": parseq(method="unrolled", max_length=12),
    "parseq stepwise": parseq(method="stepwise"),
    "parseq without context": parseq(decoding="nar", refine_iters=0),
}
CASES = [pytest.param(make, id=name) for name, make in MODELS.items()]


@pytest.mark.parametrize("target", ["inf1", "inf2", "trn3"])
@pytest.mark.parametrize("make", CASES)
def test_every_operator_is_taken(make, target) -> None:
    report = analyze(make(), target=target)
    check_operators(report)
    assert report.supported_fraction == 1.0
    assert not {"prim::Loop", "prim::If", "aten::embedding", "aten::upsample_bilinear2d"} & set(report.counts)


@pytest.mark.xla
@pytest.mark.parametrize("make", CASES)
def test_lowers_without_scatter_or_custom_call(make) -> None:
    report = analyze(make(), target="inf2")
    assert report.basis.startswith("lowering")
    assert not {"scatter", "custom-call", "while", "sort"} & set(report.instructions)
    assert report.notes == ()


@pytest.mark.xla
@pytest.mark.slow
@pytest.mark.parametrize("make", CASES)
def test_agrees_with_the_original_through_xla(make) -> None:
    compiled = neuronkit.compile_for_inferentia(make(), target="xla")
    assert compiled.manifest["parity"]["compiled"]["passed"]
    with pytest.raises(neuronkit.errors.ArtifactError):
        compiled.save("never.pt")

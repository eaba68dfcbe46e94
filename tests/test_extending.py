"""A family, a method, a target, rules and a kind of served model, each added by one file of tests/toys and one line."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from neuronkit import (
    CompileOptions,
    TensorSpec,
    analyze,
    compile_for_inferentia,
    describe_environment,
    estimate,
    exact_padding,
    load,
    make_static,
    static_greedy_decoder,
)
from neuronkit.adapters import registry
from neuronkit.errors import OptionError, SpecError, UnknownModelError, UnknownTargetError
from neuronkit.serving.triton import export_repository, kinds
from neuronkit.serving.triton.backend import Request, load_served
from neuronkit.static.decoding.greedy import growing_loop
from neuronkit.static.decoding.loops import end_at_eos
from neuronkit.static.decoding.methods import register_method
from neuronkit.targets import find_target, register, target_names
from neuronkit.testing import AdapterConformance
from tests.static.networks import lively, worst_error
from tests.toys import family, method, target

pytestmark = pytest.mark.usefixtures("registries")
SPEC = TensorSpec("x", (2, 4))


class TestToyFamily(AdapterConformance):
    distinct_results = 6

    @pytest.fixture(autouse=True)
    def added(self, registries: None) -> None:
        registry.register(family.FAMILY)

    def make_model(self) -> nn.Module:
        return family.make_reader()


class TestToyFamilyUnrolled(TestToyFamily):
    options = family.ReaderOptions(method="unrolled")


def test_a_family(tmp_path: Path) -> None:
    model = family.make_reader()
    with pytest.raises(UnknownModelError, match=r"tests.toys.family.Reader is of no known family"):
        make_static(model)
    registry.register(family.FAMILY)
    static = make_static(model, batch_size=4)
    (x,) = static.example_inputs(seed=1)
    loaded = load(compile_for_inferentia(static, target="cpu").save(tmp_path / "toy.pt"))
    assert loaded.manifest["family"] == "toy"
    assert static.decoded(loaded(x)) == static.decoded(static.reference(x))
    assert list(analyze(static, target="inf1").unsupported) == ["aten::embedding"]
    with pytest.raises(OptionError, match=r"family 'toy' takes ReaderOptions"):
        make_static(model, options=CompileOptions())


def test_a_method(tmp_path: Path) -> None:
    model, memory = family.make_reader(), torch.randn(5, family.WIDTH, generator=torch.Generator().manual_seed(0))
    decoder = family.Decoder(model)
    ids = {"bos_id": family.BOS, "eos_id": family.EOS}
    with pytest.raises(OptionError, match="got method='all_passes'"):
        static_greedy_decoder(decoder, max_length=6, **ids, method="all_passes")
    register_method(method.ToyMethod())
    static = static_greedy_decoder(decoder, max_length=6, **ids, memory=memory, method="all_passes")
    expected = end_at_eos(growing_loop(decoder, memory, 7, family.BOS), [family.EOS])
    assert torch.allclose(end_at_eos(static(memory), [family.EOS]), expected, atol=1e-5)
    assert len({len(row) for row in static.tokens(memory)}) > 1
    assert static.passes(memory) == 7
    compiled = compile_for_inferentia(static, target="cpu", progress=False)
    assert compiled.manifest["joining"]["method"] == "all_passes"
    loaded = load(compiled.save(tmp_path / "model.pt"))
    assert torch.allclose(end_at_eos(loaded(memory), [family.EOS]), expected, atol=1e-5)


def test_a_target(tmp_path: Path) -> None:
    with pytest.raises(UnknownTargetError, match="'toy'"):
        find_target("toy")
    register(target.ToyTarget)
    with pytest.raises(UnknownTargetError, match="did you mean 'toy'"):
        find_target("toyy")
    model, x = nn.Linear(4, 3).eval(), SPEC.example(seed=1)
    loaded = load(compile_for_inferentia(model, SPEC, target="toy").save(tmp_path / "toy.pt"))
    torch.testing.assert_close(loaded(x), model(x))
    assert loaded.manifest["target"] == "toy"
    assert target_names()[-1] == "toy"
    assert describe_environment().targets["toy"] is None
    assert analyze(model, SPEC, target="toy").supported_fraction == 1
    assert estimate(model, SPEC, target="toy").chip.name == "Inferentia2"
    with pytest.raises(OptionError, match="optlevel"):
        compile_for_inferentia(model, SPEC, target="toy", options=CompileOptions(optlevel=1))


def test_a_target_that_compiles_in_a_child_process() -> None:
    register(target.ToySdk)
    options = CompileOptions(timeout_s=300)
    compiled = compile_for_inferentia(nn.Linear(4, 3).eval(), SPEC, target="toy-sdk", options=options)
    assert compiled.manifest["commands"] == {"main": "toy"}


def test_what_is_no_target_and_what_is_taken_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for wrong in (target, target.ToyTarget(), nn.Linear, None):
        with pytest.raises(OptionError, match="expected a subclass of Target"):
            register(wrong)
    monkeypatch.setattr(target.ToyTarget, "name", "inf2")
    with pytest.raises(OptionError, match="a target of neuronkit itself"):
        register(target.ToyTarget)
    monkeypatch.setattr(target.ToyTarget, "name", "")
    with pytest.raises(OptionError, match="expected text"):
        register(target.ToyTarget)


def test_rules() -> None:
    with pytest.raises(SpecError, match=r"node 'sinc.*not a known operator"):
        exact_padding(nn.Sequential(nn.Conv2d(3, 4, 3), Sinc()))
    # Importing the file is the line, and it may have been imported before.
    sys.modules.pop("tests.toys.rule", None)
    rules = importlib.import_module("tests.toys.rule")
    torch.manual_seed(0)
    model = lively(rules.Network()).double()
    assert worst_error(model, exact_padding(model), [(9, 12), (16, 5), (16, 20)], (16, 20)) < 1e-12


class Sinc(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sinc(x)


def test_a_kind_of_served_model(tmp_path: Path) -> None:
    kinds.KINDS.insert(0, "tests.toys.server_kind:Lengths")
    compiled = compile_for_inferentia(nn.Identity(), TensorSpec("measured", (2, 5)), target="cpu")
    version = export_repository({"m": compiled}, tmp_path / "models")["m"]
    config = (tmp_path / "models" / "m" / "config.pbtxt").read_text(encoding="utf-8")
    assert 'name: "length" data_type: TYPE_INT32' in config
    (kind,) = re.findall('key: "kind" value: { string_value: "(.*)" }', config)
    served = load_served(version, kind, max_pixels=1)
    (answer,) = served.answer([Request(lambda: {"measured": np.zeros((1, 5), np.float32)}, ["length"])])
    assert not isinstance(answer, Exception)
    assert answer["length"].tolist() == [[5]]

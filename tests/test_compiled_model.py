"""CompiledModel where an nn.Module stood: inputs by name, modes and devices, pickling, and mistakes in its inputs."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, strategies
from torch import Tensor, nn

import neuronkit
from neuronkit import CompiledModel, StaticCRAFT, TensorSpec, compile_for_inferentia
from neuronkit.artifact.generation import Generation
from neuronkit.errors import ArtifactError, OptionError, SpecError
from neuronkit.interface import RECOGNIZER, SEQ2SEQ, Interface
from neuronkit.models import CRAFT

A, B = torch.ones(1, 2), torch.full((1, 2), 3.0)


class Difference(nn.Module):
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return first - second


@pytest.fixture(scope="module")
def model() -> CompiledModel:
    specs = [TensorSpec("first", (1, 2)), TensorSpec("second", (1, 2))]
    return compile_for_inferentia(Difference(), specs, target="cpu")


@pytest.fixture(scope="module")
def detector() -> CompiledModel:
    return compile_for_inferentia(StaticCRAFT(CRAFT(width=1 / 64), height=32, width=64), target="cpu", verify=False)


def test_inputs_by_name(model: CompiledModel) -> None:
    for result in (model(A, B), model(A, second=B), model(second=B, first=A), model.forward(A, B)):
        assert torch.equal(result, A - B)


@pytest.mark.parametrize(
    ("inputs", "named", "message"),
    [
        ((A,), {}, "got 1 inputs; expected 2: first: .*give each once"),
        ((A, B, A), {}, "got 3 inputs; expected 2"),
        ((A, B), {"second": B}, r"got 2 inputs and \['second'\]; expected 2"),
        ((A,), {"secnd": B}, "got the name of an input='secnd'; expected one of .* did you mean 'second'"),
        ((A, None), {}, "got second=None; expected a tensor"),
        ((A, B.int()), {}, r"second: got \(1, 2\) int32, .*second\.to\(torch\.float32\)"),
        ((A, B[0]), {}, r"second: got \(2,\) float32, .*second\.unsqueeze\(0\)"),
        ((A, B.to("meta")), {}, "second: got a meta tensor"),
    ],
)
def test_mistakes_in_inputs_are_named(
    model: CompiledModel, inputs: tuple[Any, ...], named: dict[str, Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        model(*inputs, **named)


@pytest.mark.parametrize(
    ("images", "size", "message"),
    [
        ((1, 32, 64, 3), [[32, 64]], r"channels come before height and width: images\.permute\(0, 3, 1, 2\)"),
        ((3, 32, 64), [[32, 64]], r"add the batch dimension: images\.unsqueeze\(0\)"),
        ((1, 3, 32, 64), [[64, 32]], r"height comes first: valid_size\.flip\(1\)"),
        ((1, 3, 32, 64), [[0, 64]], r"valid_size: got \[\[0, 64\]\]; expected \(height, width\)"),
        ((1, 3, 32, 64), [[-32, 64]], r"valid_size: got \[\[-32, 64\]\]"),
        ((1, 3, 32, 64), [[32, 96]], r"from 1 to \(32, 64\), the size of the input"),
        ((1, 3, 32, 64), [32, 64], r"add the batch dimension: valid_size\.unsqueeze\(0\)"),
    ],
)
def test_mistakes_in_images_and_sizes_are_named(
    detector: CompiledModel, images: tuple[int, ...], size: list[Any], message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        detector(torch.zeros(images), torch.tensor(size, dtype=torch.int32))


def test_bytes_and_wide_sizes_are_named(detector: CompiledModel) -> None:
    images, size = torch.zeros(1, 3, 32, 64), torch.tensor([[32, 64]])
    with pytest.raises(SpecError, match=r"valid_size\.to\(torch\.int32\)"):
        detector(images, size)
    with pytest.raises(SpecError, match="scale bytes as the model's processor does"):
        detector(images.byte(), size.int())


def test_it_stands_where_a_module_stood(model: CompiledModel) -> None:
    assert model.eval() is model.train(False) is model.to("cpu") is model.to(torch.device("cpu")) is model
    assert model.training is False
    with pytest.raises(OptionError, match="a compiled model cannot be trained"):
        model.train()
    for device in ("cuda", torch.float16, None):
        with pytest.raises(OptionError, match=r"expected to\('cpu'\)"):
            model.to(device)


def test_what_it_has_not_is_an_error_that_says_so(model: CompiledModel) -> None:
    for name in ("parameters", "state_dict", "half", "cuda"):
        with pytest.raises(AttributeError, match=f"no attribute '{name}': its weights and layers are inside"):
            getattr(model, name)
    with pytest.raises(AttributeError, match="no attribute 'generate'"):
        _ = model.generate


def test_it_pickles_by_its_path(model: CompiledModel, tmp_path: Path) -> None:
    specs = [TensorSpec("first", (1, 2)), TensorSpec("second", (1, 2))]
    fresh = compile_for_inferentia(Difference(), specs, target="cpu")
    with pytest.raises(ArtifactError, match=r"which has no file; .* call save\(path\) first"):
        pickle.dumps(fresh)
    path = fresh.save(tmp_path / "m.pt")
    for origin in (fresh, neuronkit.load(path)):
        assert torch.equal(pickle.loads(pickle.dumps(origin))(A, B), A - B)
    pickled = pickle.dumps(fresh)
    (tmp_path / "m.pkl").write_bytes(pickled)
    code = "import pickle, sys, torch; print(pickle.load(open(sys.argv[1], 'rb'))(torch.ones(1, 2), torch.zeros(1, 2)))"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.pkl")], capture_output=True, text=True)
    assert done.stdout == f"{A}\n", done.stderr
    compile_for_inferentia(nn.ReLU(), TensorSpec("x", (1, 2)), target="cpu").save(path)
    with pytest.raises(ArtifactError, match="holds another artifact than when the model was pickled"):
        pickle.loads(pickled)


# generate

START, END, PAD = 5, 1, 0
TEXTS = [TensorSpec("input_ids", (2, 4), "int32"), TensorSpec("attention_mask", (2, 4), "int32")]


def as_generate_ends(rows: list[list[int]]) -> list[list[int]]:
    """Rows up to their first end, filled up to the longest."""
    cut = [[START, *row[: row.index(END) + 1]] if END in row else [START, *row] for row in rows]
    return [row + [PAD] * (max(map(len, cut)) - len(row)) for row in cut]


@given(strategies.lists(strategies.lists(strategies.integers(0, 5), min_size=3, max_size=3), min_size=1, max_size=5))
def test_generate_gives_ids_up_to_the_longest_row(rows: list[list[int]]) -> None:
    def decoder(ids: Tensor, mask: Tensor) -> Tensor:
        assert torch.equal(mask[0], torch.tensor([1, 1, 1, 0]))
        assert ids[0, 3] == PAD
        return nn.functional.one_hot(ids[:, :3].long(), 6).float()

    generate = Generation(decoder, TEXTS, Interface(SEQ2SEQ, (), START, END, PAD))
    ids = torch.tensor(rows)
    found = generate(ids, torch.ones_like(ids))
    assert found.dtype == torch.int64
    assert found.tolist() == generate(input_ids=ids, attention_mask=torch.ones_like(ids)).tolist()
    assert found.tolist() == as_generate_ends(rows)


def test_generate_is_for_sequences_and_says_what_it_takes() -> None:
    with pytest.raises(AttributeError, match="no sequences that begin and end with a known token"):
        Generation(nn.Identity(), TEXTS, Interface(RECOGNIZER, (), START, END))
    generate = Generation(nn.Identity(), TEXTS, Interface(SEQ2SEQ, (), START, END))
    ids = torch.ones(1, 3, dtype=torch.int64)
    with pytest.raises(SpecError, match=r"got 1 inputs in order and \[\]; expected input_ids, attention_mask; give"):
        generate(ids)
    with pytest.raises(SpecError, match="got the name of an input='num_beams'; expected one of 'input_ids'"):
        generate(ids, ids, num_beams=4)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match=r"input_ids: got \(1, 5\) int32; the graph takes at most \(2, 4\)"):
        generate(torch.ones(1, 5, dtype=torch.int64), ids)

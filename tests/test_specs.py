import pytest
import torch

from neuronkit.errors import SpecError
from neuronkit.specs import TensorSpec


def test_takes_dtypes_by_name_and_as_torch_dtype() -> None:
    assert TensorSpec("x", [1, 2], torch.int32) == TensorSpec("x", (1, 2), "int32")
    assert TensorSpec("x", torch.zeros(3, 4).shape).shape == (3, 4)


@pytest.mark.parametrize("dimension", [-1, None, 1.5, "2"])
def test_refuses_an_unknown_dimension_and_says_what_to_do(dimension: object) -> None:
    with pytest.raises(SpecError, match=r"images: got dimension .* fixed shapes.*FixedShape.*Buckets"):
        TensorSpec("images", (1, dimension))  # type: ignore[arg-type]


def test_refuses_an_unknown_dtype() -> None:
    with pytest.raises(SpecError, match="got dtype='complex64'; expected one of 'float32'"):
        TensorSpec("x", (1,), "complex64")


def test_round_trips_through_a_dict() -> None:
    spec = TensorSpec("x", (2, 3), "int32")
    assert TensorSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize("dtype", ["float32", "float16", "int32", "bool", "float64"])
def test_example_fits_the_spec_and_is_reproducible(dtype: str) -> None:
    spec = TensorSpec("x", (4, 5), dtype)
    spec.check(spec.example(3))
    assert torch.equal(spec.example(3), spec.example(3))


@pytest.mark.parametrize("tensor", [torch.zeros(1, 3), torch.zeros(1, 2, dtype=torch.float64)])
def test_check_names_both_shapes(tensor: torch.Tensor) -> None:
    with pytest.raises(SpecError, match=r"x: got .*, the compiled graph takes exactly \(1, 2\) float32"):
        TensorSpec("x", (1, 2)).check(tensor)

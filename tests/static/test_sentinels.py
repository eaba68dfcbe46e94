"""Constants that stand for infinity leave nothing behind, in whatever type a compiler keeps a part of a sum."""

import pytest
import torch

from neuronkit.static.sentinels import sentinel


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_a_sentinel_is_exact_in_its_type_and_in_bfloat16(dtype: torch.dtype) -> None:
    value = sentinel(dtype)
    for kept in (dtype, torch.bfloat16):
        assert torch.tensor(value, dtype=kept).item() == value
        assert torch.tensor(value, dtype=dtype) - torch.tensor(value, dtype=kept).to(dtype) == 0
    assert value > 1e4
    assert torch.tensor([0.0, -value], dtype=dtype).float().softmax(0).tolist() == [1.0, 0.0]
    assert torch.isfinite(torch.zeros(1, dtype=dtype) * torch.tensor(value, dtype=dtype))


@pytest.mark.parametrize("value", [1e30, 1e9, 6e4])
def test_powers_of_ten_do_leave_something(value: float) -> None:
    assert torch.tensor(value) - torch.tensor(value, dtype=torch.bfloat16).float() != 0

"""What the models refuse to be built with."""

from typing import Any

import pytest
import torch

from neuronkit.errors import OptionError, SpecError
from neuronkit.models import CRAFT, PARSeq


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"max_label_length": 0}, "got max_label_length=0; expected a whole number from 1"),
        ({"refine_iters": -1}, "got refine_iters=-1; expected a whole number from 0"),
        ({"enc_num_heads": 5}, "got enc_num_heads=5; expected a divisor of embed_dim=384"),
        ({"dec_num_heads": 7}, "got dec_num_heads=7; expected a divisor of embed_dim=384"),
        ({"patch_size": (5, 8)}, r"got patch_size=\(5, 8\); expected divisors of img_size=\(32, 128\)"),
        ({"img_size": 32}, "got img_size=32; expected 2 whole numbers"),
        ({"embed_dim": 0}, "got embed_dim=0; expected a whole number from 1"),
        ({"embed_dim": 384.0}, "got embed_dim=384.0; expected a whole number"),
        ({"enc_depth": 10**9}, "got enc_depth=1000000000; expected a whole number from 1 to"),
        ({"enc_depth": 10**6}, "parameters, 1769472000000 of them in the encoder; expected at most 500000000"),
        ({"dec_mlp_ratio": 2.5}, r"got dec_mlp_ratio=2\.5; expected a whole number"),
        ({"dropout": float("nan")}, "got dropout=nan; expected a finite number from 0 to 1"),
        ({"decode_ar": "yes"}, "got decode_ar='yes'; expected True or False"),
    ],
)
def test_sizes_of_parseq_that_do_not_fit(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PARSeq(36, **sizes)


@pytest.mark.parametrize("width", [0, -1.0, "1", float("nan"), pytest.param(10**5000, id="huge"), 1e9, True, None])
def test_width_of_craft(width: Any) -> None:
    with pytest.raises(OptionError, match="expected a finite number above 0"):
        CRAFT(width=width)


def test_a_charset_of_300000_characters_is_read_once_and_not_once_for_each() -> None:
    characters = "".join(map(chr, range(0x10000, 0x10000 + 300_000)))
    model = PARSeq(characters, embed_dim=1, enc_depth=1, enc_num_heads=1, dec_num_heads=1, enc_mlp_ratio=1.0)
    assert model.head.weight.shape == (300_001, 1)
    with pytest.raises(OptionError, match="charset repeats"):
        PARSeq(characters + characters)


@pytest.mark.parametrize("max_length", [-1, pytest.param(-(10**5000), id="huge"), 2.0, "5", True, [5]])
def test_a_length_that_is_none(max_length: Any) -> None:
    model = PARSeq(36, embed_dim=8, enc_depth=1, enc_num_heads=1, dec_num_heads=1, img_size=(8, 16))
    with pytest.raises(SpecError, match=r"got max_length=.*; expected a whole number"):
        model(torch.zeros(1, 3, 8, 16), max_length)


def test_a_length_of_any_size_is_cut_to_the_longest_label() -> None:
    model = PARSeq(36, max_label_length=3, embed_dim=8, enc_depth=1, enc_num_heads=1, dec_num_heads=1, img_size=(8, 16))
    assert model.eval()(torch.zeros(1, 3, 8, 16), 10**18).shape[:2] == (1, 4)

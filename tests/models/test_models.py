"""What the models refuse to be built with."""

from typing import Any

import pytest

from neuronkit.errors import OptionError
from neuronkit.models import CRAFT, PARSeq


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"max_label_length": 0}, "got max_label_length=0; expected a whole number of at least 1"),
        ({"refine_iters": -1}, "got refine_iters=-1; expected a whole number of at least 0"),
        ({"enc_num_heads": 5}, "enc_num_heads=5 does not divide embed_dim=384"),
        ({"dec_num_heads": 7}, "dec_num_heads=7 does not divide embed_dim=384"),
        ({"patch_size": (5, 8)}, r"patch_size=\(5, 8\) does not divide img_size=\(32, 128\)"),
    ],
)
def test_sizes_of_parseq_that_do_not_fit(sizes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PARSeq(36, **sizes)


@pytest.mark.parametrize("width", [0, -1.0, "1", float("nan")])
def test_width_of_craft(width: Any) -> None:
    with pytest.raises(OptionError, match="expected a number above 0"):
        CRAFT(width=width)

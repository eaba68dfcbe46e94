from pathlib import Path
from typing import Any

import pytest

from neuronkit.errors import OptionError
from neuronkit.options import CompileOptions


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("auto_cast", "some", "auto_cast='some': expected one of 'none', 'matmult', 'all'"),
        ("auto_cast_type", "int8", "auto_cast_type='int8'"),
        ("optlevel", 4, "optlevel=4: expected one of 1, 2, 3"),
        ("model_type", "cnn", "model_type='cnn'"),
        ("cpu_operators", "aten::add", r"expected a sequence of strings"),
        ("cpu_operators", ("embedding",), "'embedding' is not an operator kind; write it with its namespace"),
        ("extra_args", (1,), "expected a sequence of strings"),
        ("timeout_s", 0, "timeout_s=0: expected a positive number"),
        ("neuroncores", -1, "neuroncores=-1"),
    ],
)
def test_refuses_bad_values(field: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompileOptions(**{field: value})


def test_knows_what_was_changed() -> None:
    assert CompileOptions().changed() == {}
    assert CompileOptions(optlevel=1, workdir="logs").changed() == {"optlevel": 1, "workdir": Path("logs")}


def test_is_hashable_and_json_ready() -> None:
    options = CompileOptions(extra_args=["-O1"], workdir="logs")  # type: ignore[arg-type]
    assert hash(options) == hash(CompileOptions(extra_args=("-O1",), workdir=Path("logs")))
    assert options.to_dict()["workdir"] == "logs"

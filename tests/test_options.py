from pathlib import Path
from typing import Any

import pytest

from neuronkit.errors import OptionError
from neuronkit.options import CompileOptions


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("auto_cast", "some", "auto_cast='some'; expected one of 'none', 'matmult', 'all'"),
        ("auto_cast_type", "int8", "auto_cast_type='int8'"),
        ("optlevel", 4, "optlevel=4; expected one of 1, 2, 3"),
        ("model_type", "cnn", "model_type='cnn'"),
        ("cpu_operators", "aten::add", r"expected a sequence of strings"),
        ("cpu_operators", ("embedding",), "'embedding' is not an operator kind; write it with its namespace"),
        ("extra_args", (1,), "expected a sequence of strings"),
        ("timeout_s", 0, "timeout_s=0; expected a finite number above 0"),
        ("neuroncores", -1, "neuroncores=-1"),
        ("neuroncores", 1.5, "neuroncores=1.5; expected a whole number"),
        ("neuroncores", True, "neuroncores=True; expected a whole number"),
        ("timeout_s", "10", "timeout_s='10'; expected a finite number"),
        ("timeout_s", float("inf"), "timeout_s=inf; expected a finite number"),
        ("optlevel", True, "optlevel=True; expected one of 1, 2, 3"),
        ("optlevel", 1.0, r"optlevel=1\.0; expected one of 1, 2, 3"),
        ("inline_weights", "no", "inline_weights='no'; expected True or False"),
        ("cpu_fallback", 1, "cpu_fallback=1; expected True or False"),
        ("cpu_operators", None, "cpu_operators=None; expected a sequence of strings"),
        ("extra_args", "-O1 -v", r"such as \('-O1 -v',\)"),
        ("workdir", 3, "workdir=3; expected a path"),
        ("cache_dir", "", "cache_dir='', an empty path"),
        ("cache_dir", "a\0b", "with a NUL character"),
        ("cache_dir", "~nobody-of-this-name/x", "expected the path of a directory"),
    ],
)
def test_refuses_bad_values(field: str, value: Any, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompileOptions(**{field: value})


def test_what_can_be_read_only_once_is_kept() -> None:
    assert CompileOptions(cpu_operators=(kind for kind in ["aten::add"])).cpu_operators == ("aten::add",)  # type: ignore[arg-type]


def test_knows_what_was_changed() -> None:
    assert CompileOptions().changed() == {}
    assert CompileOptions(optlevel=1, workdir="logs").changed() == {"optlevel": 1, "workdir": Path("logs")}


def test_is_hashable_and_json_ready() -> None:
    options = CompileOptions(extra_args=["-O1"], workdir="logs")  # type: ignore[arg-type]
    assert hash(options) == hash(CompileOptions(extra_args=("-O1",), workdir=Path("logs")))
    assert options.to_dict()["workdir"] == "logs"

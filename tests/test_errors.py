import builtins
import copy
import inspect
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from neuronkit import assert_parity, errors

CLASSES = [c for _, c in inspect.getmembers(errors, inspect.isclass) if c.__module__ == errors.__name__]
EXTRA = {
    errors.CompileError: {"code": "NCC_X", "log_path": Path("log"), "hint": "wait"},
    errors.ParityError: {"report": "the numbers"},
}


def test_every_error_derives_from_the_root_and_from_a_builtin() -> None:
    assert len(CLASSES) > 10
    for cls in CLASSES:
        assert issubclass(cls, errors.NeuronKitError)
        if cls is not errors.NeuronKitError:
            assert any(base.__module__ == builtins.__name__ and base is not Exception for base in cls.__mro__[:-3])


class OwnError(errors.SpecError):
    """Of somebody else, with an argument of its own."""

    def __init__(self, message: str, size: int, *, unit: str) -> None:
        super().__init__(message)
        self.size = size
        self.unit = unit


@pytest.mark.parametrize("cls", [*CLASSES, OwnError])
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda error: pickle.loads(pickle.dumps(error))])
def test_errors_survive_pickling_and_copying(cls: type[Exception], again: object) -> None:
    error = cls("what happened", **EXTRA.get(cls, {"size": 3, "unit": "px"} if cls is OwnError else {}))
    error.note = "a note"  # type: ignore[attr-defined]
    same = again(error)
    assert type(same) is cls
    assert str(same) == "what happened"
    assert vars(same) == vars(error)


def disagree(size: int) -> None:
    assert_parity(lambda x: x, lambda x: x + 1, [(torch.zeros(size),)])


def test_a_parity_error_of_another_process_arrives_with_its_report() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, pytest.raises(errors.ParityError) as caught:
        pool.submit(disagree, 3).result()
    assert caught.value.report.outputs[0].max_abs == 1

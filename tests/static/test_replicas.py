import os
import pickle
import signal
import threading
import time

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from neuronkit.errors import OptionError, SpecError
from neuronkit.specs import TensorSpec
from neuronkit.static.shapes.replicas import Replicas

SPEC = TensorSpec("x", (2, 3))


def exact(x: Tensor) -> Tensor:
    SPEC.check(x)
    return x * 2 + 1


@given(st.integers(0, 17), st.integers(1, 4))
def test_any_number_of_rows_comes_back_in_order(rows: int, copies: int) -> None:
    x = torch.arange(rows * 3, dtype=torch.float32).reshape(rows, 3)
    with Replicas([exact] * copies, [SPEC]) as replicas:
        assert torch.equal(replicas(x), x * 2 + 1)


@given(st.integers(0, 17), st.integers(1, 4))
def test_one_function_for_all_copies_gets_all_their_rows(rows: int, copies: int) -> None:
    x = torch.randn(rows, 3)
    seen = []

    def together(x: Tensor) -> dict[str, Tensor]:
        seen.append(len(x))
        return {"y": x * 2}

    with Replicas([together], [SPEC], copies=copies) as replicas:
        assert torch.equal(replicas(x)["y"], x * 2)
    assert set(seen) == {2 * copies}


def test_all_copies_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=30)

    def wait(x: Tensor) -> Tensor:
        together.wait()
        return x

    with Replicas([wait] * 3, [TensorSpec("x", (1, 3))]) as replicas:
        replicas(torch.randn(3, 3))
        replicas(torch.randn(6, 3))


def test_a_copy_works_on_one_batch_at_a_time() -> None:
    busy = threading.Lock()

    def alone(x: Tensor) -> Tensor:
        assert busy.acquire(blocking=False)
        x = x.sin()
        busy.release()
        return x

    x = torch.randn(64, 3)
    with Replicas([alone], [SPEC]) as replicas:
        callers = [threading.Thread(target=replicas, args=(x,)) for _ in range(4)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
        assert torch.equal(replicas(x), x.sin())


def test_specs_are_those_that_keep_every_copy_busy() -> None:
    with Replicas([exact] * 3, [SPEC]) as replicas:
        assert replicas.specs == (TensorSpec("x", (6, 3)),)
        assert "3 copies" in repr(replicas)


def test_an_error_of_one_batch_reaches_the_caller() -> None:
    def fail_on_ones(x: Tensor) -> Tensor:
        if bool((x == 1).any()):
            raise RuntimeError("the device went away")
        return x

    with Replicas([fail_on_ones] * 2, [SPEC]) as replicas:
        with pytest.raises(RuntimeError, match="went away"):
            replicas(torch.cat([torch.zeros(4, 3), torch.ones(4, 3)]))
        assert torch.equal(replicas(torch.zeros(4, 3)), torch.zeros(4, 3))


class Scale:
    """A function that pickles, as a compiled model does."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.factor


def test_replicas_work_in_a_forked_process() -> None:
    with Replicas([exact] * 2, [SPEC]) as replicas:
        x = torch.arange(15.0).reshape(5, 3)
        replicas(x)
        child = os.fork()
        if child == 0:
            # Nothing of pytest's may run here.
            os._exit(0 if torch.equal(replicas(x), x * 2 + 1) else 1)
        deadline = time.monotonic() + 30
        while not (ended := os.waitpid(child, os.WNOHANG))[0] and time.monotonic() < deadline:
            time.sleep(0.01)
        if not ended[0]:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        assert ended == (child, 0)
        assert torch.equal(replicas(x), x * 2 + 1)


def test_replicas_pickle_where_their_functions_do() -> None:
    x = torch.arange(15.0).reshape(5, 3)
    replicas = Replicas([Scale(3.0)] * 2, [SPEC], processor="any")
    with replicas, pickle.loads(pickle.dumps(replicas)) as copied:
        assert torch.equal(copied(x), x * 3)
        assert (copied.specs, copied.processor) == (replicas.specs, "any")
    with (
        Replicas([lambda x: x], [SPEC]) as replicas,
        pytest.raises(SpecError, match=r"FixedShape to pickle with fn=.*neuronkit\.load"),
    ):
        pickle.dumps(replicas)


def test_what_does_not_fit_is_refused() -> None:
    with Replicas([exact] * 2, [SPEC]) as replicas:
        with pytest.raises(SpecError, match="at most"):
            replicas(torch.zeros(4, 5))
        with pytest.raises(SpecError, match="str"):
            replicas("x")
        with pytest.raises(SpecError, match="no input"):
            replicas()
        with pytest.raises(SpecError, match=r"\[1, 2\] rows"):
            replicas(torch.zeros(1, 3), torch.zeros(2, 3))
    with pytest.raises(OptionError, match="0 functions"):
        Replicas([], [SPEC])
    with pytest.raises(OptionError, match="2 functions cannot serve 3 copies"):
        Replicas([exact] * 2, [SPEC], copies=3)

"""What threads of one process share. Each test forces an order of events; none waits for time to pass."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

import neuronkit
from neuronkit import TensorSpec
from neuronkit.cache.lock import KeyLock
from neuronkit.capture import onnx
from neuronkit.capture.exporting import export_graph
from neuronkit.static import original
from neuronkit.static.model import Foldable, as_static
from neuronkit.static.shapes.replicas import Replicas
from neuronkit.targets.xla import XlaGraph
from neuronkit.threads.quiet import quiet
from neuronkit.threads.turns import CAPTURE, Turns

IMAGES = TensorSpec("images", (1, 3, 16, 16))
# Only a test that fails waits so long.
PATIENCE = 60.0


class Meeting:
    """Two threads. The first stops at `here` until the second has come there, has to wait for a turn, or has ended.

    Where the second `lingers`, it goes on when the first has ended, and leaves later what it has entered later.
    """

    def __init__(self) -> None:
        self.lingers = False
        self.overlapped = self._stopped = False
        self._arrived, self._ended = threading.Event(), threading.Event()
        self._threads: list[threading.Thread] = []

    def here(self) -> None:
        """Called from the code that both run."""
        if not self._threads or threading.current_thread() not in self._threads:
            return
        if threading.current_thread() is self._threads[0]:
            if self._threads[1].ident is not None:
                return
            self._stopped = True
            self._threads[1].start()
            assert self._arrived.wait(PATIENCE)
            self._stopped = False
        else:
            self.overlapped |= self._stopped
            self._arrived.set()
            assert not self.lingers or self._ended.wait(PATIENCE)

    def waits(self, turns: Turns) -> None:
        """Called before a turn is taken."""
        if len(self._threads) < 2 or threading.current_thread() is not self._threads[1]:
            return
        if turns._lock.acquire(blocking=False):
            turns._lock.release()
        else:
            self._arrived.set()

    def run(self, first: Callable[[], Any], second: Callable[[], Any]) -> tuple[Any, Any]:
        """What both return."""
        results: tuple[Future[Any], Future[Any]] = Future(), Future()

        def work(function: Callable[[], Any], result: Future[Any], event: threading.Event) -> None:
            try:
                result.set_result(function())
            except BaseException as error:
                result.set_exception(error)
            finally:
                event.set()

        for function, result, event in zip((first, second), results, (self._ended, self._arrived), strict=True):
            self._threads.append(threading.Thread(target=work, args=(function, result, event)))
        self._threads[0].start()
        for thread in self._threads:
            thread.join(PATIENCE)
        return results[0].result(0), results[1].result(0)


_meeting: Meeting | None = None


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meeting]:
    global _meeting
    _meeting = made = Meeting()
    taken = Turns.taken

    def noted(turns: Turns) -> Any:
        made.waits(turns)
        return taken(turns)

    monkeypatch.setattr(Turns, "taken", noted)
    yield made
    _meeting = None


class Stops(nn.Module):
    """Changes nothing; threads meet in it, or only where a graph is traced."""

    def __init__(self, *, traced: bool = False) -> None:
        super().__init__()
        self.traced = traced

    def forward(self, x: Tensor) -> Tensor:
        if _meeting is not None and (not self.traced or torch.jit.is_tracing()):  # type: ignore[attr-defined]
            _meeting.here()
        return x


def network(*, traced: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), Stops(traced=traced), nn.BatchNorm2d(4), nn.Dropout(0.5), nn.Conv2d(4, 2, 3)
    )


def test_modes_of_a_model_in_train_mode_are_given_back_by_the_last_thread(meeting: Meeting) -> None:
    model = network().train()
    emulated = neuronkit.emulate_autocast(model, auto_cast="none")
    images = [IMAGES.example(seed) for seed in range(2)]
    expected = [network().eval()(x) for x in images]
    meeting.lingers = True
    found = meeting.run(lambda: emulated(images[0]), lambda: emulated(images[1]))
    assert meeting.overlapped
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)
    assert all(module.training for module in model.modules())
    statistics: Any = model[2]
    assert int(statistics.num_batches_tracked) == 0


class Interrupted(nn.Module):
    """Somebody presses Ctrl-C when its mode is changed for the first time."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.mode, self.armed = mode, True

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "training" and getattr(self, "armed", False) and value is self.mode:
            self.armed = False
            raise KeyboardInterrupt
        super().__setattr__(name, value)

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("mode", [False, True])
def test_modes_are_given_back_after_an_interrupt(mode: bool) -> None:
    model = nn.Sequential(nn.Dropout(), Interrupted(mode), nn.Dropout())
    with pytest.raises(KeyboardInterrupt):
        neuronkit.emulate_autocast(model, auto_cast="none")(IMAGES.example())
    assert all(module.training for module in model.modules())
    assert not original._held


PATCHED: list[tuple[Any, str]] = [
    (nn.Module, "__call__"), (nn.Module, "__getattr__"), (F, "pad"), (torch, "reshape"), (builtins, "max"),
]  # fmt: skip


def test_rewriting_leaves_the_modules_of_other_threads_alone(meeting: Meeting) -> None:
    model, images = network().eval(), IMAGES.example()
    expected, padded = model(images), F.pad(images, [1, 1])
    called: list[Tensor] = []

    def compute() -> None:
        # While the first thread follows the same modules.
        with torch.no_grad():
            x = model[0](images)
            called.extend([model[4](model[3](model[2](x))), F.pad(images, [1, 1]), model[0].weight])

    rewritten, _ = meeting.run(lambda: neuronkit.exact_padding(model), compute)
    assert torch.equal(called[0], expected)
    assert torch.equal(called[1], padded)
    assert called[2] is model[0].weight
    assert torch.equal(rewritten(images, torch.tensor([[16, 16]], dtype=torch.int32)), expected)


def test_rewriting_in_two_threads_takes_turns(meeting: Meeting) -> None:
    before = [getattr(space, name) for space, name in PATCHED]
    models, images = [network().eval(), network().eval()], IMAGES.example()
    found = meeting.run(lambda: neuronkit.exact_padding(models[0]), lambda: neuronkit.exact_padding(models[1]))
    assert not meeting.overlapped
    assert [getattr(space, name) for space, name in PATCHED] == before
    for rewritten in found:
        assert torch.equal(rewritten(images, torch.tensor([[16, 16]], dtype=torch.int32)), models[0](images))


@pytest.mark.skipif(not hasattr(torch, "export"), reason="no torch.export")
def test_exporting_leaves_the_modules_of_other_threads_alone(meeting: Meeting) -> None:
    model, images = network().eval(), IMAGES.example()
    called: list[Any] = []

    def compute() -> None:
        part = nn.Sequential(model)
        called.extend([part[0] is model, [*part.modules()][1] is model, fx._symbolic_trace.is_fx_tracing()])
        called.append(nn.Conv2d(3, 4, 3)(images).shape)

    meeting.run(lambda: export_graph(model, (IMAGES,)), compute)
    assert not called[2]
    assert [*called[:2], called[3]] == [True, True, (1, 4, 14, 14)]


class Unemptied(dict[str, Any]):
    def clear(self) -> None:
        raise AssertionError("another thread may be reading")


def test_rewriting_does_not_take_away_what_other_threads_read() -> None:
    model = network().eval()
    model[0]._parameters = Unemptied(model[0]._parameters)
    neuronkit.exact_padding(model)


def compiled(model: nn.Module, target: str) -> Any:
    return neuronkit.compile_for_inferentia(model, IMAGES, target=target)


@pytest.mark.parametrize("target", ["cpu", "onnx", "openvino"])
def test_compiling_in_two_threads_takes_turns(meeting: Meeting, target: str) -> None:
    if target != "cpu":
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime" if target == "onnx" else "openvino")
    images = IMAGES.example()
    expected = compiled(network().eval(), target)(images)
    shown, filters = warnings.showwarning, list(warnings.filters)
    found = meeting.run(*[lambda: compiled(network(traced=True).eval(), target)] * 2)
    assert not meeting.overlapped
    for model in found:
        assert torch.equal(model(images), expected)
    assert torch.jit._trace._trace_module_map is None  # type: ignore[attr-defined]
    assert (warnings.showwarning, list(warnings.filters)) == (shown, filters)


def test_analysing_in_two_threads_takes_turns(meeting: Meeting) -> None:
    def analyzed() -> str:
        return str(neuronkit.analyze(network(traced=True).eval(), IMAGES, target="inf1"))

    expected = str(neuronkit.analyze(network(traced=True).eval(), IMAGES, target="inf1"))
    assert meeting.run(analyzed, analyzed) == (expected, expected)
    assert not meeting.overlapped


def test_exporting_in_two_threads_takes_turns(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("neuronkit.capture.onnx._write", meeting_before(onnx, "_write"))
    meeting.run(*[lambda: compiled(nn.Conv2d(3, 4, 3), "onnx")] * 2)
    assert not meeting.overlapped


def meeting_before(holder: Any, name: str) -> Callable[..., Any]:
    """A function of a module or a class, before which threads meet."""
    original = getattr(holder, name)

    def function(*args: Any, **kwargs: Any) -> Any:
        assert _meeting is not None
        _meeting.here()
        return original(*args, **kwargs)

    return function


@pytest.mark.xla
def test_graphs_on_xla_take_turns(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch_xla")
    images, model = IMAGES.example(), compiled(nn.Conv2d(3, 4, 3), "xla")
    expected = model(images)
    monkeypatch.setattr("neuronkit.targets.xla.XlaGraph._run", meeting_before(XlaGraph, "_run"))
    lowered, found = meeting.run(lambda: compiled(nn.Conv2d(3, 4, 3), "xla"), lambda: model(images))
    assert not meeting.overlapped
    assert torch.equal(found, expected)
    assert lowered(images).shape == expected.shape


class Scaled(Foldable):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.stops = Stops()

    def compute_constants(self) -> tuple[Tensor, ...]:
        return (self.linear.weight @ self.linear.weight,)

    def forward(self, x: Tensor) -> Tensor:
        return self.stops(x) @ self.constants[0]


def test_emulating_in_two_threads_rounds_the_same(meeting: Meeting) -> None:
    x = torch.rand(2, 4)
    static = as_static(Scaled(), x)
    emulated = neuronkit.emulate_autocast(static, auto_cast="all")
    expected = emulated(x)
    meeting.lingers = True
    found = meeting.run(lambda: emulated(x), lambda: emulated(x))
    assert meeting.overlapped
    assert torch.equal(found[0], expected)
    assert torch.equal(found[1], expected)


class Dictionary(neuronkit.CRAFT):
    """As hezar's, whose features are seen by a hook."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        if _meeting is not None:
            _meeting.here()
        return {"logits": super().forward(images)[0]}


def test_features_of_a_detector_in_two_threads_are_its_own(meeting: Meeting) -> None:
    torch.manual_seed(0)
    static = neuronkit.StaticCRAFT(Dictionary(width=0.1).eval(), height=64, width=64)
    inputs = [static.example_inputs(seed) for seed in range(2)]
    expected = [static.reference(*given) for given in inputs]
    found = meeting.run(lambda: static.reference(*inputs[0]), lambda: static.reference(*inputs[1]))
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one[1], other[1])


@pytest.fixture
def steps(meeting: Meeting, monkeypatch: pytest.MonkeyPatch, method: str) -> Any:
    """A Hugging Face model that decodes step by step; threads meet in a step."""
    pytest.importorskip("transformers")
    from neuronkit.adapters.huggingface.cached import CachedDecode
    from tests.adapters.huggingface_models import lively, marian

    compute = CachedDecode.compute

    def met(self: Any, *given: Any, **named: Any) -> Any:
        if self.layout.place.tokens is not None:
            meeting.here()
        return compute(self, *given, **named)

    options = neuronkit.HuggingFaceOptions(method=method)
    static = neuronkit.make_static(lively(marian(0), 2.0), options=options)
    monkeypatch.setattr(CachedDecode, "compute", met)
    return static


@pytest.mark.peers
@pytest.mark.parametrize("method", ["stepwise", "windowed"])
def test_steps_of_two_threads_take_turns(meeting: Meeting, steps: Any) -> None:
    inputs = [steps.example_inputs(seed) for seed in range(2)]
    with torch.no_grad():
        expected = [steps(*given) for given in inputs]
    decode = torch.no_grad()(lambda given: steps(*given))
    found = meeting.run(lambda: decode(inputs[0]), lambda: decode(inputs[1]))
    assert not meeting.overlapped
    for one, other in zip(found, expected, strict=True):
        assert torch.equal(one, other)


@pytest.mark.peers
@pytest.mark.parametrize("method", ["stepwise"])
def test_graphs_made_while_another_thread_decodes_spell_attention_out(meeting: Meeting, steps: Any) -> None:
    decode = torch.no_grad()(lambda: steps(*steps.example_inputs()))
    _, graphs = meeting.run(decode, steps.graphs)
    parts = [part for graph, _ in graphs.values() for part in graph.modules()]
    ways = {part.config._attn_implementation for part in parts if hasattr(part, "config")}
    assert ways == {"eager"}


class Warns(nn.Module):
    """Warns in the thread that calls it, and while it is traced in another one, too."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.jit.is_tracing():  # type: ignore[attr-defined]
            thread = threading.Thread(target=warnings.warn, args=("of another thread", UserWarning))
            thread.start()
            thread.join()
            warnings.warn("of the thread that traces", UserWarning, stacklevel=1)
        return x + 1


def test_a_compile_hides_the_warnings_of_its_own_thread_alone() -> None:
    with pytest.warns(UserWarning, match="thread") as caught:
        neuronkit.compile_for_inferentia(Warns(), IMAGES, target="cpu")
    assert [w.message.args[0] for w in caught if "thread" in str(w.message)] == ["of another thread"]


def test_threads_may_leave_quiet_blocks_in_any_order() -> None:
    shown, filters = warnings.showwarning, list(warnings.filters)
    first, second = quiet(), quiet(UserWarning)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    warnings.warn("not shown", UserWarning, stacklevel=1)
    second.__exit__(None, None, None)
    with pytest.warns(UserWarning, match="shown"):
        warnings.warn("shown", UserWarning, stacklevel=1)
    assert (warnings.showwarning, list(warnings.filters)) == (shown, filters)


def test_a_quiet_block_goes_before_filters_that_make_errors_of_warnings() -> None:
    with quiet(UserWarning), warnings.catch_warnings():
        warnings.simplefilter("error")
        with quiet(UserWarning):
            warnings.warn("not shown", UserWarning, stacklevel=1)
        with pytest.raises(FutureWarning):
            warnings.warn("of another category", FutureWarning, stacklevel=1)


def test_replicas_start_once_in_a_forked_process(meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> None:
    replicas = Replicas([torch.sigmoid] * 2, [IMAGES])
    images = IMAGES.example()
    # As in a forked process.
    replicas._process = -1
    start = replicas._start

    def met() -> None:
        meeting.here()
        start()

    monkeypatch.setattr(replicas, "_start", met)
    found = meeting.run(lambda: replicas(images), lambda: replicas(images))
    assert not meeting.overlapped
    assert all(torch.equal(result, torch.sigmoid(images)) for result in found)
    assert replicas._idle.qsize() == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_forked_during_a_turn_of_another_thread_has_its_own() -> None:
    holding, ended = threading.Event(), threading.Event()

    def hold() -> None:
        with CAPTURE.taken():
            holding.set()
            ended.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert holding.wait(PATIENCE)
    child = os.fork()
    if not child:
        os._exit(0 if CAPTURE._lock.acquire(blocking=False) else 1)
    ended.set()
    holder.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_lock_of_the_cache_ends_although_a_forked_process_has_its_file(tmp_path: Path) -> None:
    with KeyLock(tmp_path / "lock") as lock:
        assert lock.acquire(shared=False)
        assert lock._file is not None
        child = subprocess.Popen(
            [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, pass_fds=[lock._file]
        )
    with child, KeyLock(tmp_path / "lock") as other:
        assert other.acquire(shared=False)

"""Whatever becomes of the compiler's process: a CompileError that says what to do, and nothing half-written."""

import os
import time
from pathlib import Path

import pytest
from torch import nn

from neuronkit.cache import CompileCache
from neuronkit.errors import CompileError
from neuronkit.options import CompileOptions
from neuronkit.specs import TensorSpec
from neuronkit.targets import find_target
from tests.processes import is_running, wait_for

# One framework set is enough; the children of this one start fastest.
pytestmark = pytest.mark.inf1


def compile_head(graphs, options, target="inf1", progress=lambda stage: None):
    return find_target(target).compile({"head": graphs["head"]}, options=options, progress=progress)


def assert_gone(*pids: int) -> None:
    wait_for(lambda: not any(map(is_running, pids)), 10)


@pytest.mark.parametrize(
    ("mode", "message", "hint"),
    [
        ("fail", r"ended with status 1 \(NCC_EVRF001\)", "unsupported operator"),
        ("crash", r"(?s)killed by SIGSEGV \(a crash inside the SDK\).*Current thread.* in _behave", None),
        ("out of memory", "killed by SIGKILL", "ran out of memory: compile on a larger machine"),
        ("silent", r"ended with status 3", None),
        ("no result", "reported success and left no result", None),
        ("cpu trace", "though the SDK reported success", "CPU trace: compile a larger part"),
        ("half", "the result is cut or damaged", None),
        ("garbage", "the result is cut or damaged", None),
        ("disk full", "ended with status 74", "the disk is full: free some space"),
        ("no space", "ended with status 74", "the disk is full: free some space"),
        ("loud", r"ended with status 70 \(NCC_EVRF001\)", "unsupported operator"),
        ("fail and go on", r"though the SDK reported success \(NCC_EVRF001\)", "unsupported operator"),
        ("own log", r"ended with status 1 \(NCC_EVRF001\)", "unsupported operator"),
        ("compiler killed", "(?s)ended with status 1.*SIGKILL", "ran out of memory: compile on a larger machine"),
        ("nothing", r"gave a NoneType; a compiled graph is a torch\.jit\.ScriptModule", None),
    ],
)
def test_every_failure_is_told_and_leaves_nothing_half_written(
    install_double, graphs, tmp_path: Path, mode, message, hint
) -> None:
    install_double("torch_neuron", mode=mode)
    with pytest.raises(CompileError, match=message) as caught:
        compile_head(graphs, CompileOptions(workdir=tmp_path / "work", cache_dir=tmp_path / "cache"))
    error = caught.value
    assert error.log_path == tmp_path / "work" / "head" / "compile.log"
    assert error.log_path.exists()
    assert f"Log: {error.log_path}\nNext: " in str(error)
    assert hint is None or hint in error.hint
    assert len(str(error)) < 10_000
    assert not list((tmp_path / "work").rglob("compiled.pt*"))
    assert CompileCache(tmp_path / "cache").entries() == ()
    assert not list((tmp_path / "cache" / "entries").glob("*"))


def test_a_failure_is_not_kept(install_double, graphs, tmp_path: Path) -> None:
    double = install_double("torch_neuron", mode="no space")
    options = CompileOptions(workdir=tmp_path / "work", cache_dir=tmp_path / "cache")
    with pytest.raises(CompileError):
        compile_head(graphs, options)
    double.set_mode("")
    compiled = compile_head(graphs, options)
    assert compiled.cache["head"]["status"] == "miss"


@pytest.mark.parametrize("mode", ["thread", "crash at exit"])
def test_what_happens_after_the_result_does_not_matter(install_double, graphs, mode) -> None:
    install_double("torch_neuron", mode=mode)
    assert set(compile_head(graphs, CompileOptions(timeout_s=120)).callables) == {"head"}


def test_a_compiler_that_complains_may_leave_operators_to_the_cpu(install_double, graphs) -> None:
    install_double("torch_neuron", mode="fail and go on")
    assert set(compile_head(graphs, CompileOptions(cpu_fallback=True)).callables) == {"head"}


def test_a_failure_leaves_its_log_alone_in_the_temporary_directory(
    install_double, graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    install_double("torch_neuron", mode="own log")
    with pytest.raises(CompileError) as caught:
        compile_head(graphs, CompileOptions())
    assert [path for path in (tmp_path / "temporary").rglob("*") if path.is_file()] == [caught.value.log_path]


def test_a_failure_before_the_compiler_leaves_nothing(
    install_double, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    install_double("torch_neuron")
    graphs = {"head": (nn.Linear(4, 3).eval(), (TensorSpec("x", (2, 5)),))}
    with pytest.raises(CompileError, match=r"torch\.jit cannot trace Linear"):
        compile_head(graphs, CompileOptions())
    assert os.listdir(tmp_path / "temporary") == []


def test_a_grandchild_that_holds_the_log_does_not_hold_up_the_compile(install_double, graphs) -> None:
    double = install_double("torch_neuron", mode="grandchild")
    compile_head(graphs, CompileOptions())
    assert_gone(*(call["compiler"] for call in double.calls if "compiler" in call))


class Clock:
    """A clock, and a report that puts it forward as soon as the compiler has said something."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def monotonic(self) -> float:
        return time.monotonic() + self.ahead_s

    def __call__(self, stage: str) -> None:
        pass

    def detail(self, text: str) -> None:
        if "scheduling" in text:
            self.ahead_s = 3600.0


def test_a_hang_ends_with_every_process_it_started(
    install_double, graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    double, clock = install_double("torch_neuron", mode="hang"), Clock()
    monkeypatch.setattr("neuronkit.targets.sdk.job.time", clock)
    with pytest.raises(CompileError, match="not compiled within timeout_s=600 seconds") as caught:
        compile_head(graphs, CompileOptions(workdir=tmp_path, timeout_s=600), progress=clock)
    assert "[1/3] scheduling" in str(caught.value)
    trace, compiler = double.calls
    assert_gone(trace["pid"], compiler["compiler"])


class Impatient:
    """A report that interrupts as soon as the compiler has said something."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def __call__(self, stage: str) -> None:
        pass

    def detail(self, text: str) -> None:
        self.details.append(text)
        if "scheduling" in text:
            raise KeyboardInterrupt


def test_an_interrupt_ends_the_child_and_leaves_nothing(
    install_double, graphs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    double, report = install_double("torch_neuron", mode="hang"), Impatient()
    with pytest.raises(KeyboardInterrupt):
        compile_head(graphs, CompileOptions(cache_dir=tmp_path / "cache"), progress=report)
    assert report.details[-1].startswith("compiling head, ")
    assert report.details[-1].endswith(" s: [1/3] scheduling")
    trace, compiler = double.calls
    assert_gone(trace["pid"], compiler["compiler"])
    assert os.listdir(tmp_path / "temporary") == []
    assert not list((tmp_path / "cache" / "entries").glob("*"))


def test_a_full_disk_under_the_log(install_double, graphs, tmp_path: Path) -> None:
    install_double("torch_neuron", mode="fail")
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "compile.log").symlink_to("/dev/full")
    with pytest.raises(CompileError, match="the log is empty"):
        compile_head(graphs, CompileOptions(workdir=tmp_path))


def test_a_full_disk_before_the_compiler_starts(install_double, graphs, tmp_path: Path) -> None:
    double = install_double("torch_neuron")
    (tmp_path / "head").mkdir()
    (tmp_path / "head" / "graph.pt").symlink_to("/dev/full")
    with pytest.raises(CompileError, match=r"No space left on device.*Next: the disk is full"):
        compile_head(graphs, CompileOptions(workdir=tmp_path))
    assert double.calls == []


def test_a_workdir_that_is_a_file(install_double, graphs, tmp_path: Path) -> None:
    install_double("torch_neuron")
    (tmp_path / "file").touch()
    with pytest.raises(CompileError, match=r"Not a directory.*CompileOptions\(workdir=...\)"):
        compile_head(graphs, CompileOptions(workdir=tmp_path / "file"))

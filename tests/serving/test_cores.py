import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuronkit.errors import NeuronCoreError, OptionError
from neuronkit.serving.cores import NUM_CORES, VISIBLE_CORES, claim_cores, describe_cores, format_cores, parse_cores

WORKER = """
import sys
from neuronkit.serving.cores import claim_cores
# The claim is forgotten at once, and holds.
print(*claim_cores(int(sys.argv[1]), cores="0-3", directory=sys.argv[2]).cores, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE_CORES, raising=False)
    monkeypatch.delenv(NUM_CORES, raising=False)


class Worker:
    def __init__(self, directory: Path, count: int = 1) -> None:
        command = [sys.executable, "-c", WORKER, str(count), str(directory)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.cores = [int(core) for core in self.process.stdout.readline().split()]

    def kill(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    started = [Worker(tmp_path) for _ in range(2)]
    yield started
    for worker in started:
        worker.kill()


def test_each_process_gets_its_own_core_and_a_killed_one_gives_it_back(workers: list[Worker], tmp_path: Path) -> None:
    assert [worker.cores for worker in workers] == [[0], [1]]
    with claim_cores(2, cores="0-3", directory=tmp_path) as claim:
        assert claim.cores == (2, 3)
        assert os.environ[VISIBLE_CORES] == "2-3"
        with pytest.raises(NeuronCoreError, match=rf"core 0 by process {workers[0].process.pid}; core 1 by"):
            claim_cores(1, cores="0-3", directory=tmp_path)
        workers[0].kill()
        with claim_cores(1, cores="0-3", directory=tmp_path) as second:
            assert second.cores == (0,)
            assert os.environ[VISIBLE_CORES] == "0"
        assert os.environ[VISIBLE_CORES] == "2-3"
    assert VISIBLE_CORES not in os.environ


def test_several_cores_are_neighbours(tmp_path: Path) -> None:
    with claim_cores(1, cores=[1], directory=tmp_path), claim_cores(2, cores="0-3", directory=tmp_path) as pair:
        assert pair.cores == (2, 3)
    with pytest.raises(NeuronCoreError, match="too few"):
        claim_cores(2, cores="0,2", directory=tmp_path)


def test_the_variable_limits_the_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VISIBLE_CORES, "4-5")
    with claim_cores(directory=tmp_path) as first:
        assert first.cores == (4,)
    first.release()
    assert os.environ[VISIBLE_CORES] == "4-5"


def test_nobody_says_which_cores_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="takes all cores"):
        claim_cores(directory=tmp_path)
    monkeypatch.setenv(NUM_CORES, "2")
    with pytest.raises(OptionError, match="any 2 free cores"):
        claim_cores(directory=tmp_path)


@pytest.mark.parametrize("sdk", ["torch_neuron", "torch_neuronx"])
def test_a_late_claim_is_refused(sdk: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, sdk, ModuleType(sdk))
    with pytest.raises(NeuronCoreError, match=f"{sdk} is imported already"):
        claim_cores(cores="0-3", directory=tmp_path)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({}, "the process takes all cores"),
        ({NUM_CORES: "0"}, "the process takes all cores"),
        ({NUM_CORES: "2"}, "NEURON_RT_NUM_CORES counts: any 2 free cores"),
        ({VISIBLE_CORES: "2-3"}, "NEURON_RT_VISIBLE_CORES counts: cores 2-3"),
        ({VISIBLE_CORES: "1", NUM_CORES: "4"}, "NEURON_RT_VISIBLE_CORES counts and wins over NEURON_RT_NUM_CORES"),
    ],
    ids=["neither", "zero", "number", "visible", "both"],
)
def test_which_variable_wins(environment: dict[str, str], text: str) -> None:
    assert text in str(describe_cores(environment))


@pytest.mark.parametrize("text", ["", "a", "3-1", "0,0", "-1", "1-", "0;1", "9" * 50, "9" * 5000 + "-3"])
def test_unreadable_cores_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="cores"):
        parse_cores(text)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "a" * 2_000_000])
def test_names_that_no_message_holds_are_refused(name: str) -> None:
    with pytest.raises(OptionError, match="got name=") as caught:
        parse_cores("a", name=name)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("cores", [4, b"0-3", [0, -1], ["a"], [], "0-99999999999"])
def test_cores_of_other_types_are_refused(cores: object, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="cores"):
        claim_cores(cores=cores, directory=tmp_path)  # type: ignore[arg-type]


def test_locks_are_for_the_workers_of_all_users(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with claim_cores(2, cores="0-3", directory=tmp_path) as first:
            modes = [(tmp_path / f"core-{core}").stat().st_mode & 0o777 for core in first.cores]
    finally:
        os.umask(before)
    assert modes == [0o666, 0o666]


@pytest.mark.parametrize("text", ["x", "3-1", "0,0", "0-"])
def test_an_unreadable_variable_is_named(text: str) -> None:
    with pytest.raises(OptionError, match=f"^got {VISIBLE_CORES}='{text}'; expected"):
        describe_cores({VISIBLE_CORES: text, NUM_CORES: "2"})


@pytest.mark.parametrize("count", [0, -1, 1.0, True, "1"])
def test_unreadable_counts_are_refused(count: object, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="whole number from 1"):
        claim_cores(count, cores="0-3", directory=tmp_path)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="number of cores"):
        describe_cores({NUM_CORES: str(count) + "x"})


@given(st.lists(st.integers(0, 200), min_size=1, max_size=12, unique=True))
def test_what_is_written_is_read(cores: list[int]) -> None:
    assert parse_cores(format_cores(cores)) == tuple(cores)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NeuronCoreError, match="no place for locks"):
        claim_cores(cores="0", directory=tmp_path / "file")

"""One process a core: which NeuronCores a process takes, and that no two take the same.

The runtime gives all cores to the first process, unless an environment variable limits it before the SDK is
imported. Source: Neuron runtime configuration (``NEURON_RT_VISIBLE_CORES``, ``NEURON_RT_NUM_CORES``).
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from neuronkit import checks
from neuronkit.checks import shown
from neuronkit.errors import NeuronCoreError, OptionError

VISIBLE_CORES = "NEURON_RT_VISIBLE_CORES"
NUM_CORES = "NEURON_RT_NUM_CORES"
# More than any machine has, and few enough to count.
_MOST_CORES = 1 << 16
_LONGEST_TEXT = 10_000
# Importing one of these may start the runtime, which reads its variables once.
_SDKS = ("torch_neuron", "torch_neuronx", "libneuronxla")


@dataclass(frozen=True)
class CoreSettings:
    """This process's cores, as the environment sets them.

    Attributes:
        variable: The variable that counts, None where none is set and the process takes all cores.
        cores: Numbers of the cores, where the variable names them.
        count: How many cores, where the environment says so.
        ignored: A variable that is set and has no effect.

    Examples:
        >>> neuronkit.serving.cores.describe_cores({"NEURON_RT_VISIBLE_CORES": "0-1"}).cores
        (0, 1)
    """

    variable: str | None
    cores: tuple[int, ...] | None
    count: int | None
    ignored: str | None = None

    def __str__(self) -> str:
        if self.variable is None:
            return f"neither {VISIBLE_CORES} nor {NUM_CORES} is set: the process takes all cores"
        if self.cores is None:
            return f"{NUM_CORES} counts: any {self.count} free cores"
        over = f" and wins over {self.ignored}" if self.ignored else ""
        return f"{VISIBLE_CORES} counts{over}: cores {format_cores(self.cores)}"


def describe_cores(environment: Mapping[str, str] | None = None) -> CoreSettings:
    """Say which variable decides about this process's cores, and what it says.

    Args:
        environment: The variables; None takes this process's own.

    Returns:
        The variable, and the cores or the number of cores that it names.

    Raises:
        OptionError: If a variable cannot be read.

    Examples:
        >>> neuronkit.serving.cores.describe_cores({"NEURON_RT_NUM_CORES": "2"}).count
        2
    """
    given = os.environ if environment is None else environment
    if not isinstance(given, Mapping):
        raise OptionError(f"got environment={shown(given)}; expected variables by name; give a dict such as os.environ")
    visible, number = (
        checks.text(name, given.get(name, ""), empty=True).strip() for name in (VISIBLE_CORES, NUM_CORES)
    )
    if visible:
        cores = parse_cores(visible, name=VISIBLE_CORES)
        return CoreSettings(VISIBLE_CORES, cores, len(cores), ignored=NUM_CORES if number else None)
    # The documented default, 0, stands for all cores.
    if number in ("", "0"):
        return CoreSettings(None, None, None)
    if not number.isdecimal():
        raise OptionError(f"got {NUM_CORES}={shown(number)}; expected a number of cores; set it to one, or unset it")
    return CoreSettings(NUM_CORES, None, int(number))


class CoreClaim:
    """Cores that this process holds against others that claim theirs in the same way.

    The claim ends with the process, however that ends, or with `release`; not when it is forgotten.

    Attributes:
        cores: Their numbers, neighbours.

    Examples:
        >>> claim = neuronkit.serving.cores.claim_cores(1, cores="0-3", directory="locks")
        >>> claim.release()
    """

    def __init__(self, cores: tuple[int, ...], locks: Sequence[int]) -> None:
        self.cores = cores
        self._locks = list(locks)
        self._before = os.environ.get(VISIBLE_CORES)
        os.environ[VISIBLE_CORES] = format_cores(cores)

    def release(self) -> None:
        """Release the cores, and restore the variable; the runtime frees them when the process ends."""
        if not self._locks:
            return
        while self._locks:
            os.close(self._locks.pop())
        if self._before is None:
            os.environ.pop(VISIBLE_CORES, None)
        else:
            os.environ[VISIBLE_CORES] = self._before

    def __enter__(self) -> CoreClaim:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"CoreClaim({VISIBLE_CORES}={format_cores(self.cores)})"


def claim_cores(
    count: int = 1, *, cores: str | Iterable[int] | None = None, directory: str | os.PathLike[str] | None = None
) -> CoreClaim:
    """Take free NeuronCores for this process, and set NEURON_RT_VISIBLE_CORES to them.

    Call it at the start of every worker, before anything imports the Neuron SDK: the first worker gets the first
    core, the second the next. It counts workers that call it too, not other programs on the device.

    Args:
        count: How many cores; neighbours, as a model that spans several needs them.
        cores: Which cores the workers share: ``"0-3"``, ``"0,2"`` or numbers. None takes NEURON_RT_VISIBLE_CORES.
        directory: Where the workers' locks lie, the same for all of them. None takes a folder among the machine's
            temporary files.

    Returns:
        The claim, which ends with the process.

    Raises:
        OptionError: If `count` or `cores` cannot be read, or it is not known which cores there are.
        NeuronCoreError: If too few neighbouring cores are free, with the processes that hold them; or if an SDK is
            imported already, so that the variable would come too late.

    Examples:
        >>> with neuronkit.serving.cores.claim_cores(1, cores="0-3", directory="locks") as claim:
        ...     print(len(claim.cores))
        1
    """
    count = checks.integer("count", count, 1, _MOST_CORES)
    shared = _shared_cores(cores)
    _refuse_late_claim()
    folder = _lock_folder(directory)
    holders: dict[int, str] = {}
    for run in _neighbours(shared, count):
        locks = _lock_all(folder, run, holders)
        if locks:
            return CoreClaim(run, locks)
    taken = "; ".join(f"core {core} by process {holder}" for core, holder in sorted(holders.items()))
    raise NeuronCoreError(
        f"{count} neighbouring NeuronCores of {format_cores(shared)} were asked for, and are not free (taken: "
        f"{taken or 'none, there are too few'}). Start fewer workers, give each fewer cores, or end those processes"
    )


def parse_cores(text: str, *, name: str = "cores") -> tuple[int, ...]:
    """Read ``"0-3"``, ``"0,2"`` or ``"0,4-7"``.

    Args:
        text: What is written.
        name: Where it is written, for errors.

    Returns:
        The core numbers, in order.

    Raises:
        OptionError: If the text is none of these.

    Examples:
        >>> neuronkit.serving.cores.parse_cores("0-2,5")
        (0, 1, 2, 5)
    """
    name, text = checks.label("name", name), checks.text("text", text, empty=True)
    if len(text) > _LONGEST_TEXT:
        raise OptionError(f"got {name}={shown(text)}; expected at most {_LONGEST_TEXT} characters; write ranges")
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise OptionError(f"got {name}={shown(text)}; expected numbers and ranges; write '0-3' or '0,2'")
        if any(len(number) > 9 or int(number) >= _MOST_CORES for number in (first, last or first)):
            raise OptionError(f"got {name}={shown(text)}; expected numbers below {_MOST_CORES}; give such")
        found += range(int(first), int(last or first) + 1)
    if not found or len(set(found)) < len(found):
        raise OptionError(f"got {name}={shown(text)}; expected each core once, in ranges that go up; write it so")
    return tuple(found)


def format_cores(cores: Sequence[int]) -> str:
    """Write core numbers as the runtime reads them: ``"0-3"`` for neighbours, else ``"0,2"``.

    Args:
        cores: Core numbers.

    Returns:
        The text of ``NEURON_RT_VISIBLE_CORES``.

    Raises:
        OptionError: If `cores` are not core numbers.

    Examples:
        >>> neuronkit.serving.cores.format_cores((0, 1, 2))
        '0-2'
    """
    cores = [checks.integer("cores", core, 0, _MOST_CORES) for core in checks.items("cores", cores, "core numbers")]
    if len(cores) > 1 and list(cores) == list(range(cores[0], cores[0] + len(cores))):
        return f"{cores[0]}-{cores[-1]}"
    return ",".join(map(str, cores))


def _shared_cores(cores: str | Iterable[int] | None) -> tuple[int, ...]:
    if isinstance(cores, str):
        return parse_cores(cores)
    if isinstance(cores, (bytes, int)):
        raise OptionError(f"got cores={shown(cores)}; expected '0-3', '0,2' or a list of numbers; give one of these")
    if cores is not None:
        return parse_cores(format_cores(cores))  # type: ignore[arg-type]
    settings = describe_cores()
    if settings.cores is None:
        raise OptionError(
            f"which cores the workers share is not known ({settings}); give claim_cores(..., cores='0-3') or set "
            f"{VISIBLE_CORES}. `neuron-ls` lists them"
        )
    return settings.cores


def _refuse_late_claim() -> None:
    imported = [name for name in _SDKS if name in sys.modules]
    if imported:
        raise NeuronCoreError(
            f"{imported[0]} is imported already, and the runtime may have taken its cores; call claim_cores first, "
            "before anything imports the SDK or loads an artifact"
        )


def _neighbours(cores: Sequence[int], count: int) -> list[tuple[int, ...]]:
    runs = [tuple(range(core, core + count)) for core in sorted(cores)]
    return [run for run in runs if set(run) <= set(cores)]


def _lock_folder(directory: str | os.PathLike[str] | None) -> Path:
    folder = Path(tempfile.gettempdir()) / "neuronkit-cores" if directory is None else Path(directory)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if directory is None and folder.stat().st_uid == os.getuid():
            # Workers of several users share one machine's cores.
            folder.chmod(0o1777)
    except OSError as error:
        raise NeuronCoreError(f"{folder}: no place for locks ({error}); give claim_cores(directory=...)") from error
    return folder


def _lock_all(folder: Path, cores: Sequence[int], holders: dict[int, str]) -> list[int]:
    """Lock all of these cores, or none; notes who holds what is taken.

    Returns:
        File descriptors, which unlike file objects stay open until they are closed.
    """
    import fcntl

    locks: list[int] = []
    for core in cores:
        locks.append(_open_lock(folder / f"core-{core}"))
        try:
            # The kernel ends the lock with the process, also with one that was killed.
            fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holders[core] = os.read(locks[-1], 20).decode().strip() or "unknown"
            for lock in locks:
                os.close(lock)
            return []
        os.ftruncate(locks[-1], 0)
        os.pwrite(locks[-1], str(os.getpid()).encode(), 0)
    return locks


def _open_lock(path: Path) -> int:
    try:
        # In a folder of several users, Linux lets none create over another's file, nor truncate it.
        if not path.exists():
            with contextlib.suppress(FileExistsError):
                lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
                # Whatever the umask: other users' workers write their numbers into it too.
                os.fchmod(lock, 0o666)
                return lock
        return os.open(path, os.O_RDWR)
    except OSError as error:
        raise NeuronCoreError(f"{path}: cannot be opened ({error}); give claim_cores(directory=...)") from error

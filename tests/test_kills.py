"""Writers that are killed at any moment leave whole files or none, and nothing that the next one does not remove."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from neuronkit.cache import CompileCache
from neuronkit.storage.sealed import read_manifest

# Without torch, so that it starts at once: a file, a directory and an entry of the cache, again and again.
WRITER = """
import hashlib, os, random, sys
from neuronkit.cache import CompileCache
from neuronkit.storage.atomic import replacing_file, temporary_directory
from neuronkit.storage.sealed import save_directory
folder, seed, rounds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
from pathlib import Path
folder, rng, cache = Path(folder), random.Random(seed), CompileCache(Path(folder, "cache"))
def fill(directory):
    for name in "abc":
        content = rng.randbytes(50_000)
        (directory / name).write_bytes(content + hashlib.sha256(content).digest())
print("started", flush=True)
for i in range(rounds):
    with replacing_file(folder / "file") as work:
        content = rng.randbytes(200_000)
        work.write_bytes(content + hashlib.sha256(content).digest())
    save_directory(folder / "directory", {"seed": seed}, fill)
    with cache.slot({"target": "cpu", "seed": rng.randrange(20)}, graph="main") as slot:
        if slot.path is None:
            slot.store(fill, {})
    with temporary_directory("kills") as scratch:
        fill(scratch)
"""


def start(folder: Path, seed: int, rounds: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", WRITER, str(folder), str(seed), str(rounds)]
    environment = {**os.environ, "TMPDIR": str(folder / "tmp")}
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"started\n"
    return writer


def assert_sound(folder: Path) -> None:
    """What is there is whole; a file or directory that was there once is still there."""
    content = (folder / "file").read_bytes()
    assert hashlib.sha256(content[:-32]).digest() == content[-32:]
    read_manifest(folder / "directory")
    for entry in CompileCache(folder / "cache").entries():
        read_manifest(folder / "cache" / "entries" / entry.key)


def test_whatever_is_killed_is_whole_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    rng = random.Random(0)
    with start(tmp_path, 0, 1) as first:
        assert first.wait() == 0
    littered = 0
    for seed in range(1, 25):
        writer = start(tmp_path, seed, 10_000)
        time.sleep(rng.uniform(0, 0.05))
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert_sound(tmp_path)
        littered += len(list(tmp_path.rglob(".*.????????????????????????????????")))
    assert littered > 0
    with start(tmp_path, 99, 40) as last:
        assert last.wait() == 0
    assert_sound(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["cache", "directory", "file", "tmp"]
    assert os.listdir(tmp_path / "tmp") == []
    assert all(len(name) == 64 for name in os.listdir(tmp_path / "cache" / "entries"))

"""Data sets on a real Ray cluster: every image once, whoever is killed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from neuronkit import load
from neuronkit.errors import ArtifactError, ImageError, OptionError
from neuronkit.ocr import OCRPipeline
from neuronkit.serving.ray import read_dataset, read_results

from .ray_cluster import MARKS, assert_same_page, broken, cluster, processes, save_artifacts, strips

pytestmark = MARKS

KILLER = b"this image kills who reads it"


def crash_on(deadly: bytes) -> Callable[[], None]:
    """What Ray's workers do at their start: make a decoder that crashes on one certain file."""

    # Within a function, so that it travels by value: workers do not find the tests.
    def setup() -> None:
        import neuronkit.ocr.pipeline.finding

        finding: Any = neuronkit.ocr.pipeline.finding
        real = finding.open_page

        def crashing(source: Any, **options: Any) -> Any:
            if isinstance(source, str) and Path(source).read_bytes() == deadly:
                os.kill(os.getpid(), signal.SIGSEGV)
            return real(source, **options)

        finding.open_page = crashing

    return setup


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with cluster(cpus=3, worker_setup=crash_on(KILLER)) as ray:
        yield ray


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    detector, recognizer = save_artifacts(tmp_path_factory.mktemp("artifacts"), canvas=(32, 96))
    return {"detector": detector, "recognizer": recognizer, "workers": 2}


ODD_NAMES = ('a "quoted" näme\n', os.fsdecode(b"caf\xe9"), "a,b %20 [x]*?\\", " ")


def write(folder: Path, count: int, names: Sequence[str] = ()) -> dict[str, int]:
    """Many images, each twentieth of them broken; gives the number of each path's picture, or -1."""
    pictures = strips(20)
    found = {}
    for i in range(count):
        path = folder / f"{i // 1000}" / f"{names[i] if i < len(names) else f'{i:05}'}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        bad = i % 20 == 0
        path.write_bytes(broken(pictures[1], i // 20) if bad else pictures[i % 20])
        found[str(path)] = -1 if bad else i % 20
    return found


class Killer(threading.Thread):
    """Kills a worker each time that so many files of results are there.

    Attributes:
        killed: Ids of the workers.
    """

    def __init__(self, output: Path, after: list[int]) -> None:
        super().__init__(daemon=True)
        self.killed: list[int] = []
        self._output, self._after = output, after
        self.start()

    def run(self) -> None:
        for count in self._after:
            while len(list(self._output.glob("results/*"))) < count or not self._kill():
                time.sleep(0.05)

    def _kill(self) -> bool:
        for worker in set(processes("ShardReader")) - set(self.killed):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                self.killed.append(worker)
                return True
        return False


def assert_each_once(output: Path, images: dict[str, int], models: dict[str, Any]) -> None:
    local = OCRPipeline(load(models["detector"]), load(models["recognizer"]))
    wanted = [page.to_dict() for page in local.read_batch(strips(20)).pages]
    seen: Counter[str] = Counter()
    for result in read_results(output):
        name = result["image"]
        seen[name] += 1
        if images[name] < 0:
            assert "cannot be read as an image" in result["error"] or "0 bytes" in result["error"]
            assert result["lines"] == []
        else:
            assert_same_page(result, wanted[images[name]])
    assert seen == Counter(images.keys())


def test_five_thousand_images_with_workers_killed(ray: Any, models: dict[str, Any], tmp_path: Path) -> None:
    images, output = write(tmp_path / "images", 5000, ODD_NAMES), tmp_path / "output"
    killer = Killer(output, after=[5, 20])
    report = read_dataset(tmp_path / "images", output, **models)
    assert len(killer.killed) == 2
    assert (report.read, report.skipped, report.failed, report.total) == (5000, 0, 250, 5000)
    assert sum(1 for _ in report) == 5000
    assert_each_once(output, images, models)
    assert str(report) == f"5000 read, 250 of them failed, 0 read before; results in {output}"
    assert not (output / "parts").exists()


DRIVER = """
import os, sys, ray
from neuronkit.serving.ray import read_dataset
ray.init(address=sys.argv[1], log_to_driver=False)
read_dataset(sys.argv[2], sys.argv[3], detector=sys.argv[4], recognizer=sys.argv[5], workers=2, shard_size=50)
"""


def test_a_driver_that_is_killed_goes_on_later(ray: Any, models: dict[str, Any], tmp_path: Path) -> None:
    images, output = write(tmp_path / "images", 800), tmp_path / "output"
    arguments = [ray.get_runtime_context().gcs_address, tmp_path / "images", output]
    arguments += [models["detector"], models["recognizer"]]
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *map(str, arguments)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    while len(list(output.glob("results/*"))) < 3:
        assert driver.poll() is None, "the driver ended before it could be killed"
        time.sleep(0.02)
    with pytest.raises(OptionError, match="another process is writing"):
        read_dataset(tmp_path / "images", output, **models)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    before = sum(1 for _ in read_results(output))
    assert 0 < before < 800
    report = read_dataset(tmp_path / "images", output, **models)
    assert (report.read, report.skipped) == (800 - before, before)
    assert_each_once(output, images, models)
    for image in images:
        Path(image).unlink()
    again = read_dataset(list(images) * 2, output, **models)
    assert (again.read, again.skipped) == (0, 800)


def test_an_image_that_kills_workers_is_given_up(ray: Any, models: dict[str, Any], tmp_path: Path) -> None:
    images = write(tmp_path / "images", 30)
    deadly = tmp_path / "images" / "0" / "00007.png"
    deadly.write_bytes(KILLER)
    # More workers than shards: one of them has nothing to do, and none is started for it.
    report = read_dataset(images, tmp_path / "output", attempts=2, **models)
    assert (report.read, report.failed) == (30, 3)
    errors = {result["image"]: result["error"] for result in report if result["error"]}
    assert errors[str(deadly)] == "2 workers died with this image"
    assert len(errors) == 3


def test_datasets_hold_their_images(ray: Any, models: dict[str, Any], tmp_path: Path) -> None:
    images = write(tmp_path / "images", 60)
    files = ray.data.read_binary_files(str(tmp_path / "images"), include_paths=True)
    first = read_dataset(files.limit(40), tmp_path / "output", shard_size=16, **models)
    assert (first.read, first.skipped) == (40, 0)
    second = read_dataset(files, tmp_path / "output", shard_size=16, progress=True, **models)
    assert (second.read, second.skipped, second.total) == (20, 40, 60)
    assert_each_once(tmp_path / "output", images, models)
    assert read_dataset(ray.data.from_items([]), tmp_path / "output", **models).total == 0
    with pytest.raises(OptionError, match="it needs 'path'"):
        read_dataset(ray.data.range(3), tmp_path / "output", **models)


def test_what_cannot_be_read_is_refused(ray: Any, models: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="is not a folder"):
        read_dataset(tmp_path / "none", tmp_path / "output", **models)
    with pytest.raises(OptionError, match=r"s3://bucket/a\.png"):
        read_dataset(["s3://bucket/a.png"], tmp_path / "output", **models)
    with pytest.raises(OptionError, match="hold a bytes"):
        read_dataset([b"the bytes of an image"], tmp_path / "output", **models)
    with pytest.raises(OptionError, match="images are a bytes"):
        read_dataset(b"images", tmp_path / "output", **models)
    with pytest.raises(OptionError, match=r"num_cpus=0 .* give workers"):
        read_dataset([], tmp_path / "output", **{**models, "workers": None}, num_cpus=0)
    with pytest.raises(OptionError, match="shard_size=0"):
        read_dataset([], tmp_path / "output", shard_size=0, **models)
    with pytest.raises(OptionError, match="no worker fits the cluster"):
        read_dataset([], tmp_path / "output", **{**models, "workers": None}, neuron_cores=100)
    other, _ = save_artifacts(tmp_path)
    with pytest.raises(OptionError, match="holds results of other models"):
        read_dataset([], tmp_path / "output", **{**models, "detector": other})
    with pytest.raises(ArtifactError, match="holds no results"):
        next(read_results(tmp_path))

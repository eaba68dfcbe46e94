"""read_dataset: millions of images, each read exactly once, also when workers are killed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Union

from neuronkit import checks
from neuronkit.errors import OptionError
from neuronkit.serving.artifact import ArtifactLike, portable_pair
from neuronkit.serving.ray.inputs import check_columns, dataset_of_paths, list_paths
from neuronkit.serving.ray.requirement import require_ray
from neuronkit.serving.ray.results import ResultStore, read_results

Images = Union[str, "os.PathLike[str]", Iterable[Union[str, "os.PathLike[str]"]], Any]


@dataclass(frozen=True)
class DatasetReport:
    """How many images of a data set were read. Iterating gives the results, of this call and of those before.

    Attributes:
        output: Where the results are.
        read: Images read in this call, failed ones included.
        skipped: Images that had a result before.
        failed: Images of this call that could not be read; their results carry the error.

    Examples:
        >>> print(neuronkit.serving.ray.DatasetReport(Path("results"), read=3, skipped=1, failed=0))
        3 read, 0 of them failed, 1 read before; results in results
    """

    output: Path
    read: int
    skipped: int
    failed: int

    @property
    def total(self) -> int:
        """Images of the data set; each has one result."""
        return self.read + self.skipped

    def results(self) -> Iterator[dict[str, Any]]:
        """One dictionary for each image, as `read_results` reads them from `output`."""
        return read_results(self.output)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return self.results()

    def __str__(self) -> str:
        return f"{self.read} read, {self.failed} of them failed, {self.skipped} read before; results in {self.output}"


def read_dataset(
    images: Images,
    output: str | os.PathLike[str],
    *,
    detector: ArtifactLike,
    recognizer: ArtifactLike,
    workers: int | None = None,
    num_cpus: float = 1.0,
    neuron_cores: int | None = None,
    shard_size: int = 128,
    max_pixels: int = 50_000_000,
    attempts: int = 3,
    progress: bool | None = None,
) -> DatasetReport:
    """Read images with Ray Data, each exactly once.

    Results go to disk shard by shard; nothing is collected in the calling process. Called again with the same output,
    after whatever stopped it, it reads what has no result yet.

    Args:
        images: A folder, searched through all its depths; or paths; or a Ray Dataset with a column ``path``, different
            in each row, and ``bytes`` (image files) or ``image`` (arrays) where that is only a name.
        output: A folder that all nodes share, for ``results/*.jsonl``; made if it is not there.
        detector: The detector's artifact: a path that holds it on every node, its bytes, or the `CompiledModel`.
        recognizer: The recogniser's, likewise.
        workers: Processes that read, each with its own models; None takes as many as the cluster has room for now.
        num_cpus: CPUs reserved for a worker.
        neuron_cores: NeuronCores reserved for a worker; None takes what the artifacts were compiled for.
        shard_size: Images a file of results, and a unit of work: what a killed worker had read of one is read again.
        max_pixels: Largest image that is decoded, in pixels.
        attempts: Workers that may die with an image before it is given up, with an error as its result.
        progress: Show a progress bar; None shows one on a terminal.

    Returns:
        The report; iterate it for the results. An image that cannot be read has a result with its error.

    Raises:
        MissingDependencyError: If Ray is missing, broken or too old.
        ArtifactError: If an artifact is missing, cut or changed.
        OptionError: If an option has a bad value, or `output` is in use or holds results of other models.
        ImageError: If a folder is not there.

    Examples:
        ```python
        report = read_dataset("scans/", "results/", detector="detector.pt", recognizer="recognizer.pt")
        print(report)
        ```
    """
    require_ray("ray.data")
    import ray.data

    from neuronkit.serving.ray.shards import ShardReader

    models = portable_pair(detector, recognizer)
    shard_size = checks.integer("shard_size", shard_size, 1, 1 << 20)
    worker = _worker(num_cpus, max(model.neuroncores for model in models) if neuron_cores is None else neuron_cores)
    workers = _room(worker) if workers is None else checks.integer("workers", workers, 1, 1 << 16)
    max_pixels = checks.integer("max_pixels", max_pixels, 1, 1 << 40)
    attempts = checks.integer("attempts", attempts, 1, 100)
    store = ResultStore(Path(output).absolute())
    with store.open(" ".join(model.identity for model in models)):
        done = store.done()
        if isinstance(images, ray.data.Dataset):
            if not check_columns(images):
                return DatasetReport(store.output, 0, 0, 0)
            dataset, skipped, expected, smallest = images, 0, None, 1
        else:
            paths = list_paths(images)
            left = [path for path in paths if path not in done]
            skipped, expected = len(paths) - len(left), len(left)
            if not left:
                return DatasetReport(store.output, 0, skipped, 0)
            dataset, done = dataset_of_paths(left, shard_size), set()
            smallest = workers = min(workers, dataset.num_blocks())
        rows = dataset.map_batches(
            ShardReader,
            batch_size=shard_size,
            batch_format="numpy",
            # A data set that is still to be read needs room for that, too: Ray starts further workers where there is.
            compute=ray.data.ActorPoolStrategy(min_size=smallest, max_size=workers),
            fn_constructor_args=(*models, store),
            fn_constructor_kwargs={"done": done, "attempts": attempts, "max_pixels": max_pixels},
            **worker,
        )
        # Ray's bars count shards; ours counts images.
        rows.context.enable_progress_bars = False
        report = _collect(rows.iter_rows(), store, skipped, expected, progress)
    if expected not in (None, report.read):
        raise RuntimeError(f"{report.read} of {expected} images have results; call read_dataset again for the others")
    return report


def _collect(rows: Any, store: ResultStore, skipped: int, expected: int | None, progress: bool | None) -> DatasetReport:
    from tqdm import tqdm

    read = failed = 0
    # None shows the bar on a terminal only.
    with tqdm(total=expected, unit="image", disable=None if progress is None else not progress) as bar:
        for row in rows:
            if row["part"]:
                store.commit(row["part"])
            read, failed, skipped = read + row["read"], failed + row["failed"], skipped + row["skipped"]
            bar.update(row["read"])
    return DatasetReport(store.output, int(read), int(skipped), int(failed))


def _worker(num_cpus: float, neuron_cores: int) -> dict[str, Any]:
    """What a worker reserves, as Ray's arguments."""
    worker: dict[str, Any] = {"num_cpus": checks.number("num_cpus", num_cpus, 0, 1024)}
    if checks.integer("neuron_cores", neuron_cores, 0, 1 << 10):
        worker["resources"] = {"neuron_cores": neuron_cores}
    return worker


def _room(worker: dict[str, Any]) -> int:
    """How many workers the cluster has room for."""
    import ray

    if not ray.is_initialized():
        ray.init()
    cluster = ray.cluster_resources()
    needs = {name: need for name, need in {"CPU": worker["num_cpus"], **worker.get("resources", {})}.items() if need}
    if not needs:
        raise OptionError("num_cpus=0 and no NeuronCores: any number of workers fits the cluster; give workers=...")
    room = min(int(cluster.get(name, 0) // need) for name, need in needs.items())
    if room < 1:
        raise OptionError(f"no worker fits the cluster: one needs {needs}, all there is is {cluster}; give workers=...")
    return room

"""The repository itself: what config.pbtxt says, and that nobody ever sees half of it. Needs no Triton."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import neuronkit
from neuronkit import CompiledModel, TensorSpec, compile_for_inferentia, load
from neuronkit.errors import ArtifactError, MissingDependencyError, NeuronCoreError, OptionError, ServerError
from neuronkit.ocr import CraftProcessor, ParseqProcessor
from neuronkit.serving.triton import export_repository, serve
from neuronkit.serving.triton.repository import locked, publish
from neuronkit.serving.triton.server import free_ports


def small(rows: int = 4, **options: Any) -> CompiledModel:
    """A linear layer, compiled for the CPU."""
    torch.manual_seed(0)
    return compile_for_inferentia(nn.Linear(3, 2), TensorSpec("points", (rows, 3)), target="cpu", **options)


def for_neuron(model: CompiledModel, neuroncores: int | None = None) -> CompiledModel:
    """The same artifact with the manifest that a Neuron target writes."""
    model.manifest["target"] = "inf2"
    model.manifest["options"]["neuroncores"] = neuroncores
    return model


def entry(config: str, name: str) -> str:
    """What a config says of an input or output."""
    (found,) = re.findall(rf'{{ name: "{name}" (.*?) }}', config)
    return found


def parameter(config: str, name: str) -> str:
    """What a config tells model.py."""
    (found,) = re.findall(rf'key: "{name}" value: {{ string_value: "(.*?)" }}', config)
    return str(found)


def config_of(repository: Path, name: str) -> str:
    return (repository / name / "config.pbtxt").read_text(encoding="utf-8")


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def repository(detector_path: Path, recognizer_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("exported") / "models"
    export_repository({"find": detector_path, "read": load(recognizer_path)}, directory)
    return directory


def test_a_detector_and_a_recogniser_make_three_models(repository: Path) -> None:
    files = {path.relative_to(repository).as_posix() for path in repository.rglob("*") if path.is_file()}
    assert files == {
        *(f"{name}/config.pbtxt" for name in ("find", "read", "reader")),
        *(f"{name}/1/model.py" for name in ("find", "read", "reader")),
        *("find/1/model.pt", "read/1/model.pt", "reader/1/detector.pt", "reader/1/recognizer.pt"),
    }


def test_artifacts_are_copied_whole(repository: Path, detector_path: Path) -> None:
    assert (repository / "find/1/model.pt").read_bytes() == detector_path.read_bytes()
    assert load(repository / "read/1/model.pt").manifest == load(repository / "reader/1/recognizer.pt").manifest


def test_a_detector_takes_any_size_up_to_its_canvas(repository: Path) -> None:
    config = config_of(repository, "find")
    assert entry(config, "images") == "data_type: TYPE_FP32 dims: [ 3, -1, -1 ] allow_ragged_batch: true"
    assert entry(config, "valid_size") == "data_type: TYPE_INT32 dims: [ 2 ] optional: true"
    assert entry(config, "score_maps") == "data_type: TYPE_FP32 dims: [ -1, -1, 2 ]"
    assert entry(config, "features") == "data_type: TYPE_FP32 dims: [ 6, -1, -1 ]"
    assert "max_batch_size: 1\n" in config


def test_a_recogniser_takes_tensors_or_files_and_gives_text_and_logits(repository: Path) -> None:
    config = config_of(repository, "read")
    assert entry(config, "images") == "data_type: TYPE_FP32 dims: [ 3, 32, 128 ] optional: true"
    assert entry(config, "image") == "data_type: TYPE_STRING dims: [ 1 ] optional: true"
    assert entry(config, "logits") == "data_type: TYPE_FP32 dims: [ 26, 37 ]"
    assert entry(config, "text") == "data_type: TYPE_STRING dims: [ 1 ]"
    assert entry(config, "confidence") == "data_type: TYPE_FP32 dims: [ 1 ]"
    assert "max_batch_size: 8\n" in config
    assert parameter(config, "max_queue_size") == "32"


def test_a_reader_takes_image_files_and_gives_pages(repository: Path) -> None:
    config = config_of(repository, "reader")
    for name in ("image", "page", "text", "hocr"):
        assert entry(config, name) == "data_type: TYPE_STRING dims: [ 1 ]"


def test_the_queue_is_short_unless_told_otherwise(repository: Path) -> None:
    assert parameter(config_of(repository, "reader"), "max_queue_size") == "10"


def test_options_reach_the_configuration(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_queue_delay_us": 7, "max_queue_size": 5, "queue_timeout_s": 0.25, "max_pixels": 99}
    export_repository({"m": small()}, tmp_path / "r", instances={"m": 3}, **options)
    config = config_of(tmp_path / "r", "m")
    assert "{ count: 3 kind: KIND_CPU }" in config
    for name, value in options.items():
        assert parameter(config, name) == str(value)


@pytest.mark.parametrize(
    ("dtype", "expected"), [("uint8", "UINT8"), ("float16", "FP16"), ("bfloat16", "FP32"), ("int32", "INT32")]
)
def test_dtypes(dtype: str, expected: str, tmp_path: Path) -> None:
    class Same(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + x

    compiled = compile_for_inferentia(Same(), TensorSpec("x", (2, 5), dtype), target="cpu")
    export_repository({"m": compiled}, tmp_path / "r")
    assert entry(config_of(tmp_path / "r", "m"), "x") == f"data_type: TYPE_{expected} dims: [ 5 ]"


def test_names_of_a_list_and_of_a_single_artifact(detector_path: Path, recognizer_path: Path, tmp_path: Path) -> None:
    assert set(export_repository([detector_path, recognizer_path], tmp_path / "a")) == {
        "detector",
        "recognizer",
        "reader",
    }
    assert set(export_repository(str(recognizer_path), tmp_path / "b")) == {"recognizer"}
    small().save(tmp_path / "points.pt")
    assert set(export_repository(tmp_path / "points.pt", tmp_path / "c")) == {"points"}
    with pytest.raises(OptionError, match="called the same"):
        export_repository([detector_path, detector_path], tmp_path / "d")


def test_a_reader_alone_none_and_under_another_name(detector_path: Path, recognizer_path: Path, tmp_path: Path) -> None:
    pair = (detector_path, recognizer_path)
    both = {"d": detector_path, "r": recognizer_path}
    assert set(export_repository({"pages": pair}, tmp_path / "a")) == {"pages"}
    assert set(export_repository(both, tmp_path / "b", reader=None)) == {"d", "r"}
    assert set(export_repository(both, tmp_path / "c", reader="pages")) == {"d", "r", "pages"}
    for bad in (bytearray(3), "", "a\0"):
        with pytest.raises(OptionError, match=r"got reader=|model name"):
            export_repository(detector_path, tmp_path / "d", reader=bad)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="another model"):
        export_repository(both, tmp_path / "d", reader="d")
    with pytest.raises(OptionError, match=r"got an artifact of role recognizer \(parseq\); expected detector"):
        export_repository({"pages": pair[::-1]}, tmp_path / "e")


def test_neuron_instances_get_cores_that_no_other_model_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neuronkit.CompiledModel, "save", lambda self, path: path.touch())
    one, pipelined = for_neuron(small()), for_neuron(small(), neuroncores=2)
    groups = {
        name: re.findall(r"neuroncores_([\d-]+)", config_of(tmp_path, name))
        for step in ({"a": one, "b": pipelined}, {"c": one, "cpu": small()}, {"a": one})
        for name in export_repository(step, tmp_path, instances={n: 2 for n in step if n in "ab"})
    }
    assert groups == {"a": ["0", "1"], "b": ["2-3", "4-5"], "c": ["6"], "cpu": []}
    assert set(groups) == {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "a/2").is_dir()


def test_a_core_is_set_before_the_sdk_can_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Started(Exception):
        pass

    def load_served(directory: Path, kind: str | None, *, max_pixels: int) -> None:
        raise Started(os.environ["NEURON_RT_VISIBLE_CORES"] or None)

    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", object())
    monkeypatch.setattr("neuronkit.serving.triton.backend.load_served", load_served)
    namespace: dict[str, Any] = {"__name__": "model"}
    source = (export_repository({"m": small()}, tmp_path / "r")["m"] / "model.py").read_text(encoding="utf-8")
    exec(compile(source, "model.py", "exec", dont_inherit=True), namespace)
    arguments = {
        "model_config": '{"input": [], "parameters": {"max_pixels": {"string_value": "1"}}}',
        "model_repository": str(tmp_path),
        "model_version": "1",
    }
    for given, instance, cores in (
        (None, "m_0_0", None),
        (None, "neuroncores_3_0", "3"),
        (None, "neuroncores_4-5_0", "4-5"),
        ("8-11", "m_0_0", "8-11"),
        ("8-11", "neuroncores_3_0", "11"),
        ("4,7", "neuroncores_0-1_0", "4,7"),
    ):
        monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", given or "")
        with pytest.raises(Started, match=f"^{cores}$"):
            namespace["TritonPythonModel"]().initialize({**arguments, "model_instance_name": instance})
    monkeypatch.setenv("NEURON_RT_VISIBLE_CORES", "8-11")
    with pytest.raises(NeuronCoreError, match=r"takes core 4 .* gives it 4"):
        namespace["TritonPythonModel"]().initialize({**arguments, "model_instance_name": "neuroncores_4_0"})


def test_a_new_version_leaves_the_old_one_and_takes_over(tmp_path: Path) -> None:
    first = export_repository({"m": small(4)}, tmp_path)["m"]
    before = everything(first)
    assert "version_policy: { specific: { versions: [ 1 ] } }" in config_of(tmp_path, "m")
    assert export_repository({"m": small(2)}, tmp_path)["m"] == tmp_path / "m/2"
    assert everything(first) == before
    config = config_of(tmp_path, "m")
    assert "version_policy: { specific: { versions: [ 2 ] } }" in config
    assert "max_batch_size: 2\n" in config


class Killed(BaseException):
    pass


@pytest.mark.parametrize("existing", [False, True], ids=["new", "update"])
def test_an_export_that_dies_anywhere_changes_nothing_that_is_served(
    existing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill it before each of its calls into the file system, one after the other, until one gets through."""
    directory = tmp_path / "models"
    export_repository({"other": small()}, directory)
    if existing:
        export_repository({"m": small(4)}, directory)
    config = directory / "m/config.pbtxt"
    before = config.read_bytes() if existing else None
    model, died = small(2), 0
    while True:
        steps = iter(range(died))
        with monkeypatch.context() as patch:
            for name in ("rename", "replace", "fsync"):
                patch.setattr(os, name, _dying(getattr(os, name), steps))
            try:
                export_repository({"m": model}, directory)
                break
            except Killed:
                died += 1
        served = config.read_bytes() if config.exists() else None
        if served == before:
            assert existing or not (directory / "m").exists()
        else:
            # The last step was taken, and only making it last on the disk was not.
            (version,) = re.findall(rb"versions: \[ (\d+) \]", served or b"")
            assert {path.name for path in (directory / "m" / version.decode()).iterdir()} == {"model.py", "model.pt"}
            before, existing = served, True
        assert {path.name for path in directory.iterdir()} <= {"other", "m"}
    assert died > 5
    assert "max_batch_size: 2\n" in config.read_text(encoding="utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"models"}


def _dying(function: Any, steps: Any) -> Any:
    def call(*arguments: Any) -> Any:
        if next(steps, None) is None:
            raise Killed
        return function(*arguments)

    return call


def test_exports_at_the_same_time(tmp_path: Path) -> None:
    artifact, directory = small().save(tmp_path / "m.pt"), tmp_path / "models"
    export_repository({"m": artifact}, directory)
    with ThreadPoolExecutor(4) as threads:
        exports = [threads.submit(export_repository, {"m": artifact}, directory) for _ in range(20)]
        # Meanwhile, whatever is there is whole.
        while not all(export.done() for export in exports):
            (version,) = re.findall(r"versions: \[ (\d+) \]", config_of(directory, "m"))
            load(directory / "m" / version / "model.pt")
    assert sorted(int(export.result()["m"].name) for export in exports) == list(range(2, 22))
    assert {path.name for path in (directory / "m").iterdir()} == {"config.pbtxt", *map(str, range(1, 22))}
    assert "versions: [ 21 ]" in config_of(directory, "m")


def test_an_export_waits_for_another(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as threads:
        with locked(tmp_path / "models") as staging:
            export = threads.submit(export_repository, {"m": small()}, tmp_path / "models")
            assert wait([export], timeout=0.5).not_done
            assert staging.exists()
        assert export.result() == {"m": tmp_path / "models/m/1"}


def test_what_a_killed_export_left_behind_is_removed(tmp_path: Path) -> None:
    artifact = small().save(tmp_path / "m.pt")
    code = (
        "import os, signal, neuronkit.serving.triton.repository as repository\n"
        "repository.publish = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"repository.export_repository({{'m': {str(artifact)!r}}}, {str(tmp_path / 'models')!r})\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob(".models.staging-*"))) == 1
    assert list((tmp_path / "models").iterdir()) == []
    export_repository({"m": artifact}, tmp_path / "models")
    assert {path.name for path in tmp_path.iterdir()} == {"models", "m.pt"}


def test_the_working_directory_as_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "models[1]"
    left = tmp_path / f".models[1].staging-{'0' * 32}"
    for folder in (repository, left):
        folder.mkdir()
    monkeypatch.chdir(repository)
    with locked(Path()) as staging:
        assert staging.parent == tmp_path
    assert export_repository({"m": small()}, ".") == {"m": Path("m/1")}
    assert os.listdir() == ["m"]
    assert os.listdir(tmp_path) == ["models[1]"]


def test_a_full_disk_is_an_artifact_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    artifact = small().save(tmp_path / "m.pt")
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(ArtifactError, match="No space left"):
        export_repository({"m": artifact}, tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_what_others_wrote_stays(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "m/config.pbtxt").write_text('name: "m"\n', encoding="utf-8")
    with pytest.raises(OptionError, match="neuronkit did not write it"):
        export_repository({"m": small()}, tmp_path)
    assert config_of(tmp_path, "m") == 'name: "m"\n'
    # Of another encoding, in a folder that is no version.
    (tmp_path / "m/config.pbtxt").write_bytes(b"# caf\xe9\n")
    assert export_repository({"other": small()}, tmp_path) == {"other": tmp_path / "other/1"}
    (tmp_path / "other/2²").mkdir()
    assert export_repository({"other": small()}, tmp_path) == {"other": tmp_path / "other/2"}


@pytest.mark.parametrize("name", ["", "a/b", "..", ".hidden", "a b", "ä", 3])
def test_bad_names(name: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="model name"):
        export_repository({name: small()}, tmp_path / "models")


@pytest.mark.parametrize(
    "options",
    [
        {"instances": 0},
        {"instances": {"x": 1}},
        {"instances": {"m": 1.5}},
        {"instances": "2"},
        {"max_queue_delay_us": -1},
        {"max_queue_delay_us": 1.5},
        {"max_queue_size": 0},
        {"max_queue_size": 1 << 40},
        {"queue_timeout_s": 0},
        {"queue_timeout_s": "1"},
        {"max_pixels": 0},
        {"max_pixels": 1e6},
    ],
    ids=str,
)
def test_bad_options(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=next(iter(options))):
        export_repository({"m": small()}, tmp_path / "models", **options)


def test_what_cannot_be_served_is_refused(tmp_path: Path) -> None:
    model = small()
    model.manifest["target"] = "xla"
    with pytest.raises(ArtifactError, match="'xla', which only checks"):
        export_repository({"m": model}, tmp_path / "models")
    plain = tmp_path / "plain.pt"
    torch.jit.save(torch.jit.trace(nn.Linear(3, 2), torch.zeros(1, 3)), str(plain))
    for bad in (plain, tmp_path / "nothing.pt"):
        with pytest.raises(ArtifactError, match=bad.name):
            export_repository({"m": bad}, tmp_path / "models")
    with pytest.raises(ArtifactError, match="plain TorchScript"):
        export_repository(plain.read_bytes(), tmp_path / "models")
    for bad in ({}, [], {"m": 3}, {"m": (plain,)}, None):
        with pytest.raises(OptionError):
            export_repository(bad, tmp_path / "models")  # type: ignore[arg-type]
    assert not (tmp_path / "models").exists()


def test_rows_of_single_numbers_get_the_dimension_that_triton_wants(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(1)

    compiled = compile_for_inferentia(Sum(), TensorSpec("x", (4, 3)), target="cpu")
    export_repository({"m": compiled}, tmp_path)
    expected = "data_type: TYPE_FP32 dims: [ 1 ] reshape: { shape: [ ]"
    assert entry(config_of(tmp_path, "m"), "output_0") == expected


def test_a_recogniser_whose_tensor_has_the_name_of_the_file_is_refused(tmp_path: Path) -> None:
    class Scores(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(1)[:, :26, :3]

    spec, processor = TensorSpec("image", (2, 3, 32, 128)), ParseqProcessor(charset="ab")
    compiled = compile_for_inferentia(Scores(), spec, target="cpu", processor=processor)
    with pytest.raises(ArtifactError, match="'m' cannot be served: got an input called 'image'"):
        export_repository({"m": compiled}, tmp_path)


def test_outputs_without_rows_are_refused(tmp_path: Path) -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.sum(0)

    compiled = compile_for_inferentia(Sum(), TensorSpec("x", (4, 3)), target="cpu")
    with pytest.raises(ArtifactError, match=r"'m' cannot be served: .* without a number of rows common to all"):
        export_repository({"m": compiled}, tmp_path / "models")


def test_a_detector_without_processor_is_served_but_makes_no_reader(recognizer_path: Path, tmp_path: Path) -> None:
    from neuronkit import StaticCRAFT
    from neuronkit.demo.weights import load_craft

    bare = compile_for_inferentia(StaticCRAFT(load_craft(), height=32, width=32), target="cpu", verify=False)
    artifacts = {"d": bare, "r": recognizer_path}
    assert set(export_repository(artifacts, tmp_path / "models")) == {"d", "r"}
    with pytest.raises(OptionError, match="without a processor"):
        export_repository({"pages": (bare, recognizer_path)}, tmp_path / "models")
    assert CraftProcessor.kind == "craft"


def test_importing_costs_nothing() -> None:
    code = (
        "import sys, neuronkit.serving, neuronkit.serving.triton as triton\n"
        "assert callable(triton.serve) and sorted(triton.__all__)\n"
        "print({'torch', 'numpy', 'tritonclient', 'pytriton'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    with pytest.raises(AttributeError, match="it has Server, export_repository, serve"):
        neuronkit.serving.triton.nothing  # noqa: B018


def test_without_a_server_the_error_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "pytriton", None)
    with pytest.raises(MissingDependencyError, match="pip install nvidia-pytriton 'numpy<2'"), serve(tmp_path):
        pass


def write_server(folder: Path, script: str) -> None:
    """A shell script for a tritonserver."""
    server = folder / "tritonserver"
    server.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    server.chmod(0o755)


# Answers every request as a server without models does, until a file "go" appears.
SERVER = """
import http.server, os, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"[]")
    do_POST = do_GET
(port,) = (int(option[12:]) for option in sys.argv if option.startswith("--http-port="))
server = http.server.HTTPServer(("127.0.0.1", port), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
while not os.path.exists("go"):
    time.sleep(0.01)
print("E0101 no memory", flush=True)
"""


@pytest.mark.parametrize("probe_interval_s", [None, 0.01])
@pytest.mark.parametrize(
    ("end", "state"),
    [("os._exit(0)", "stopped with status 0"), ("os.kill(os.getpid(), 11)", "was killed by SIGSEGV")],
)
def test_a_server_that_ended_by_itself_is_an_error_with_its_reason(
    end: str, state: str, probe_interval_s: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    Path("server.py").write_text(SERVER + end, encoding="utf-8")
    write_server(tmp_path, f'exec {sys.executable} server.py "$@"')
    reason = rf"(?s)tritonserver {state} before the end of its block\. .*E0101 no memory$"
    with contextlib.ExitStack() as stack:
        stack.enter_context(pytest.raises(ServerError, match=reason))
        server = stack.enter_context(serve("models", probe_interval_s=probe_interval_s))
        Path("go").touch()
        server.process.wait(60)
        # A probe finds that nobody answers.
        time.sleep(0.2)


def as_a_program(folder: Path, script: str, *options: str) -> subprocess.Popen[str]:
    """`python -m neuronkit.serving.triton`, with a shell script for a tritonserver."""
    write_server(folder, script)
    command = [sys.executable, "-m", "neuronkit.serving.triton", "models", *options]
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_the_program_passes_on_options_output_and_status(tmp_path: Path) -> None:
    options = ("--grpc-port", "1", "--host=0.0.0.0", "--model-control-mode=poll", "--metrics=x")
    process = as_a_program(tmp_path, 'echo "$@"; exit 3', *options)
    told = process.communicate()[0].split()
    assert process.returncode == 3
    assert told == [
        f"--model-repository={Path('models').resolve()}",
        *("--http-address=0.0.0.0", "--http-port=8000", "--grpc-address=0.0.0.0", "--grpc-port=1"),
        *("--metrics-address=0.0.0.0", "--metrics-port=8002", "--model-control-mode=poll", "--metrics=x"),
    ]


def test_the_program_ends_with_its_server(tmp_path: Path) -> None:
    process = as_a_program(tmp_path, "trap 'echo stopped; exit 0' TERM; echo started; while true; do sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    assert process.communicate()[0] == "stopped\n"
    assert process.returncode == 0


def test_the_program_without_a_server_says_how_to_get_one(tmp_path: Path) -> None:
    code = "import runpy, sys; sys.modules['pytriton'] = None; sys.argv[1:] = ['x']\n"
    code += "runpy.run_module('neuronkit.serving.triton', run_name='__main__')"
    environment = {**os.environ, "PATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("there is no tritonserver")


def test_free_ports_are_not_those_that_the_system_gives_out() -> None:
    ports = free_ports("127.0.0.1", 20)
    assert len(set(ports)) == 20
    assert max(ports) < 32768


def test_publish_never_replaces_a_version(tmp_path: Path) -> None:
    export_repository({"m": small()}, tmp_path / "models")
    before = everything(tmp_path / "models")
    (tmp_path / "staged/1").mkdir(parents=True)
    (tmp_path / "staged/1/model.py").touch()
    (tmp_path / "staged/config.pbtxt").touch()
    with pytest.raises(OSError, match="not empty"):
        publish(tmp_path / "staged", tmp_path / "models/m", 1)
    assert everything(tmp_path / "models") == before

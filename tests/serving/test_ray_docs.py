"""docs/ray.md is true: its commands and its Python run, in order, against a real Ray; its Kubernetes example fits."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from neuronkit.demo.picture import IMAGE
from neuronkit.errors import OptionError
from neuronkit.targets import neuronx

from ..ocr.documents import check_hocr  # noqa: TID252  # tests are no installed package
from ..test_docs import ROOT, assert_printed, parse  # noqa: TID252  # tests are no installed package
from .ray_cluster import MARKS, SETTINGS, cluster
from .waiting import PATIENCE_S, wait_until

pytestmark = MARKS

PAGE = ROOT / "docs" / "ray.md"
DOCS = PAGE.read_text(encoding="utf-8")
BLOCKS = list(parse(DOCS))
DOCKERFILE = (ROOT / "deploy" / "ray-inf2.Dockerfile").read_text(encoding="utf-8")
SCRIPTS = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where the page's reader works; the first block has made the artifacts there."""
    folder = tmp_path_factory.mktemp("docs")
    before = Path.cwd()
    os.chdir(folder)
    try:
        exec(compile(next(block.text for block in BLOCKS if block.language == "python"), str(PAGE), "exec"), {})
        yield folder
    finally:
        os.chdir(before)


def test_python_runs(folder: Path) -> None:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with cluster(cpus=2):
        for block in [block for block in BLOCKS if block.language == "python"][1:]:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile("\n" * (block.line - 1) + block.text, str(PAGE), "exec", dont_inherit=True), namespace)
            assert_printed(printed.getvalue(), block.output or "", f"{PAGE}:{block.line}")


def test_commands_run(folder: Path) -> None:
    install, serve, curl, form, html = (shlex.split(block.text) for block in BLOCKS if block.language == "bash")
    assert install == ["pip", "install", "ray[serve,data]"]
    assert serve[:2] == ["serve", "run"]
    shutil.copy(IMAGE, folder / "receipt.png")
    environment = {**os.environ, **SETTINGS, "RAY_ADDRESS": "local", "PATH": f"{SCRIPTS}:{os.environ['PATH']}"}
    environment["RAY_DEFAULT_OBJECT_STORE_MAX_MEMORY_BYTES"] = "200000000"
    with (folder / "serve.log").open("w") as log:
        # A shell starts what it puts into the background with interrupts ignored, and children inherit that. A
        # command undoes it: between fork and exec, threads of Ray's gRPC in this process may abort the child.
        heeding = ["env", "--default-signal=INT", *serve]
        server = subprocess.Popen(heeding, cwd=folder, env=environment, stdout=log, stderr=log)
    try:
        log = (folder / "serve.log").read_text

        def asked() -> bytes:
            assert server.poll() is None, log()
            return subprocess.run(curl, cwd=folder, stdout=subprocess.PIPE, check=False).stdout

        answer = wait_until(asked, message=log)
        answer_to_form, as_hocr = (
            subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, check=True).stdout for command in (form, html)
        )
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(PATIENCE_S)
    assert "neuron cafe" in json.loads(answer)["text"]
    assert json.loads(answer_to_form)["text"] == json.loads(answer)["text"]
    assert [word for word, _ in check_hocr(as_hocr)] == json.loads(answer)["text"].split()


def test_the_kubernetes_example_fits() -> None:
    import yaml
    from ray.serve.schema import ServeDeploySchema

    from neuronkit.serving.ray import serve_app

    service, policy = yaml.safe_load_all((ROOT / "deploy" / "ray-inf2.yaml").read_text(encoding="utf-8"))
    assert policy["kind"] == "NetworkPolicy"
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        (container,) = group["template"]["spec"]["containers"]
        assert f"--tag {container['image']} ." in DOCKERFILE
        metrics = next(port["containerPort"] for port in container["ports"] if port["name"] == "metrics")
        assert group["rayStartParams"]["metrics-export-port"] == str(metrics)
        assert {"port": metrics} in [port for rule in policy["spec"]["ingress"] for port in rule.get("ports", [])]
    (head,) = groups[0]["template"]["spec"]["containers"]
    ports = [str(port["containerPort"]) for port in head["ports"]]
    assert f"EXPOSE {' '.join(ports)}\n" in DOCKERFILE
    assert all(f"| {port} |" in DOCS or f" {port} on Kubernetes |" in DOCS for port in ports)
    assert (service["apiVersion"], service["kind"]) == ("ray.io/v1", "RayService")
    (app,) = ServeDeploySchema.model_validate(yaml.safe_load(service["spec"]["serveConfigV2"])).applications
    assert app.import_path == f"neuronkit.serving.ray:{serve_app.__name__}"
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pod = group["template"]["spec"]
    (worker,) = pod["containers"]
    cores = int(worker["resources"]["limits"]["aws.amazon.com/neuroncore"])
    # Each replica takes a core and a CPU: the largest cluster has room for all of them, and no core is left over.
    assert app.args["max_replicas"] == cores * group["maxReplicas"]
    assert int(worker["resources"]["limits"]["cpu"]) >= cores
    assert pod["terminationGracePeriodSeconds"] > 30


def test_the_dockerfile_installs_what_the_tests_run_on() -> None:
    pinned = (ROOT / "requirements" / "serving.txt").read_text(encoding="utf-8").splitlines()
    ray = next(line for line in pinned if line.startswith("ray["))
    installed = DOCKERFILE.replace("'", "")
    for requirement in (ray, "numpy<2", "pyarrow<23", *shlex.split(neuronx.INSTALL)[2:]):
        assert requirement in pinned or requirement in neuronx.INSTALL
        assert requirement in installed
    version = ray.partition("==")[2]
    assert f'rayVersion: "{version}"' in (ROOT / "deploy" / "ray-inf2.yaml").read_text(encoding="utf-8")
    for sources in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE):
        assert all((ROOT / source).exists() for source in sources.split())


def test_the_command_lines_arguments_are_checked(folder: Path) -> None:
    from neuronkit.serving.ray import serve_app

    application = serve_app({"detector": "craft.pt", "recognizer": "parseq.pt", "max_replicas": "3"})
    assert type(application).__name__ == "Application"
    with pytest.raises(OptionError, match=r"no arguments \['nonsense'\], and needs \['recognizer'\]"):
        serve_app({"detector": "craft.pt", "nonsense": "1"})
    with pytest.raises(OptionError, match="max_replicas='many'"):
        serve_app({"detector": "craft.pt", "recognizer": "parseq.pt", "max_replicas": "many"})

"""What docs/triton.md and deploy/ tell people to type is typed here, as far as it can run without Docker."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from shutil import copy

import pytest

from neuronkit.demo.picture import IMAGE
from neuronkit.serving.triton import probe
from neuronkit.serving.triton.server import EXIT_TIMEOUT_S, find_server, free_ports
from neuronkit.targets import neuronx

from .waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/triton.md").read_text(encoding="utf-8")
# Language, text, and the output where one stands below.
BLOCKS = re.findall(r"^```(python|bash)\n(.*?)^```(?:\n\n```text\n(.*?)^```)?", PAGE, re.MULTILINE | re.DOTALL)
DOCKERFILES = sorted((ROOT / "deploy").glob("triton-*.Dockerfile"))


def block(beginning: str) -> tuple[str, str]:
    """The block that begins so, and its output."""
    (found,) = [(text, output) for _, text, output in BLOCKS if text.startswith(beginning)]
    return found


@contextlib.contextmanager
def running(command: list[str], folder: Path, path: str, port: int) -> Iterator[None]:
    environment = {**os.environ, "PATH": path}
    process = subprocess.Popen(command, cwd=folder, env=environment)

    def ready() -> bool:
        assert process.poll() is None
        with contextlib.suppress(OSError, HTTPException):
            urllib.request.urlopen(f"http://localhost:{port}/v2/health/ready", timeout=5).close()
            return True
        return False

    try:
        wait_until(ready)
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE_S)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page's first blocks have run."""
    folder = tmp_path_factory.mktemp("page")
    namespace: dict[str, object] = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()):
        patch.chdir(folder)
        for start in ("from neuronkit import", "from neuronkit.serving"):
            exec(compile(block(start)[0], "docs/triton.md", "exec", dont_inherit=True), namespace)
    return folder


@pytest.mark.serving
@pytest.mark.slow
@pytest.mark.parametrize("beginning", ["python -m neuronkit.serving.triton models", "tritonserver"])
def test_the_page(beginning: str, exported: Path, tmp_path: Path) -> None:
    """Serve with either command, and ask; with free ports in place of the usual ones."""
    ports = dict(zip(("8000", "8001", "8002"), map(str, free_ports("localhost", 3))))

    def with_ports(text: str) -> str:
        return re.sub(r"\b800[012]\b", lambda found: ports[found[0]], text)

    server, environment = find_server(tmp_path / "server")
    command = tmp_path / "bin" / "tritonserver"
    command.parent.mkdir()
    settings = " ".join(
        f"{name}={shlex.quote(environment[name])}" for name in ("LD_LIBRARY_PATH", "PYTHONPATH", "PATH")
    )
    command.write_text(f'#!/bin/sh\n{settings} exec {shlex.join(server)} "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    if beginning == "tritonserver":
        path = os.pathsep.join([str(command.parent), path])
    with running(shlex.split(with_ports(block(beginning)[0])), exported, path, int(ports["8000"])):
        copy(IMAGE, exported / "page.png")
        for start in (
            "curl --fail localhost",
            "python -m neuronkit.serving.triton.probe",
            "curl --fail --silent",
            "echo",
        ):
            command_line = with_ports(block(start)[0])
            done = subprocess.run(
                ["sh", "-ec", command_line], cwd=exported, env={**os.environ, "PATH": path}, capture_output=True
            )
            assert not done.returncode, done.stderr.decode()
            assert (b"neuron cafe" in done.stdout) == ("page.png" in command_line)
        code, output = block("import json")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(with_ports(code), "docs/triton.md", "exec", dont_inherit=True), {})
        assert printed.getvalue() == output
        with urllib.request.urlopen(with_ports("http://localhost:8002/metrics")) as page:
            served = page.read().decode()
    # Summaries are asked for with an option; test_triton.py does.
    for name in set(re.findall(r"`((?:nv|neuronkit)_\w+)`", PAGE)) - {"nv_inference_request_summary_us"}:
        assert f"\n{name}{{" in served, name


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_install_what_the_tests_run_on(dockerfile: Path) -> None:
    text = dockerfile.read_text(encoding="utf-8")
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements/serving.txt").read_text(), re.MULTILINE))
    assert f"nvidia-pytriton=={pinned['nvidia-pytriton']}" in text
    assert "'numpy<2'" in text
    if "inf2" in dockerfile.name:
        for requirement in shlex.split(neuronx.INSTALL)[2:]:
            assert requirement in text.replace("'", "")
    else:
        assert f"torch=={pinned['torch']} " in text
    for sources in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
    assert "EXPOSE 8000 8001 8002\n" in text
    (entry,) = re.findall(r"^ENTRYPOINT \[(.*)\]$", text, re.MULTILINE)
    program, *arguments = re.findall(r'"(.*?)"', entry)
    assert program == "python"
    subprocess.run([sys.executable, *arguments, "--help"], check=True, capture_output=True)


@pytest.mark.serving  # which brings yaml
def test_the_kubernetes_example_fits() -> None:
    import yaml

    deployment, service, policy = yaml.safe_load_all((ROOT / "deploy/triton-inf2.yaml").read_text(encoding="utf-8"))
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    dockerfile = (ROOT / "deploy/triton-inf2.Dockerfile").read_text(encoding="utf-8")
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert [f"EXPOSE {' '.join(map(str, ports.values()))}"] == re.findall("^EXPOSE .*$", dockerfile, re.MULTILINE)
    assert {port["name"]: port["port"] for port in service["spec"]["ports"]}.items() <= ports.items()
    rules = policy["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == set(ports.values())
    assert policy["spec"]["podSelector"]["matchLabels"] == service["spec"]["selector"]
    program = container["livenessProbe"]["exec"]["command"]
    assert program[2] == probe.__name__
    assert float(program[-1]) < container["livenessProbe"]["timeoutSeconds"]
    assert f"--tag {container['image']} ." in dockerfile
    assert str(ports["metrics"]) == deployment["spec"]["template"]["metadata"]["annotations"]["prometheus.io/port"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert f'CMD ["{mounts["models"]}/repository"]' in dockerfile
    assert {volume["name"] for volume in pod["volumes"]} == set(mounts)
    assert pod["terminationGracePeriodSeconds"] > EXIT_TIMEOUT_S


def test_there_are_dockerfiles_and_blocks() -> None:
    assert [path.name for path in DOCKERFILES] == ["triton-cpu.Dockerfile", "triton-inf2.Dockerfile"]
    assert len(BLOCKS) >= 8

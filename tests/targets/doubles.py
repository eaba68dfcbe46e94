"""Recording doubles of the two SDKs: they accept the documented arguments, and nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

_COMMON = """
import atexit, json, os, resource, signal, subprocess, sys, tempfile, threading, time
import torch

__version__ = @version@
_RECORD = @record@
_MODE = @mode@


def _record(**fields):
    with open(_RECORD, "a", encoding="utf-8") as file:
        file.write(json.dumps(fields, default=sorted) + "\\n")


def _save_half(module, file, **kwargs):
    contents = module.save_to_buffer(**kwargs)
    file.write(b"not an archive" if _MODE == "garbage" else contents[: len(contents) // 2])


def _behave(compiler_args=(), compiler_workdir=None):
    print("pid", os.getpid(), flush=True)
    if _MODE == "fail":
        print("2026 ERROR [NCC_EVRF001] An unsupported operator was used.")
        raise RuntimeError("neuronx-cc failed with code 70")
    if _MODE == "loud":
        for _ in range(300):
            os.write(1, b"\\xff\\xfe\\x00 [NCC_EVRF001] " + b"x" * 100_000 + b"\\n")
        os.write(1, b"\\xe2\\x28\\xa1 the end\\n")
        raise SystemExit(70)
    if _MODE == "fail and go on":
        print("2026 ERROR [NCC_EVRF001] An unsupported operator was used.")
    if _MODE == "own log":
        os.makedirs(compiler_workdir)
        with open(os.path.join(compiler_workdir, "log-neuron-cc.txt"), "w") as file:
            file.write("ERROR [NCC_" "EVRF001] An unsupported operator was used.")
        raise RuntimeError("neuron-cc failed; its log has more")
    if _MODE == "compiler killed":
        subprocess.run(["sh", "-c", "kill -9 $$"], check=True)
    if _MODE == "crash at exit":
        atexit.register(os.kill, os.getpid(), signal.SIGSEGV)
    if _MODE == "thread":
        threading.Thread(target=time.sleep, args=(600,)).start()
    if _MODE == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if _MODE == "out of memory":
        os.kill(os.getpid(), signal.SIGKILL)
    if _MODE == "disk full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, resource.RLIM_INFINITY))
    if _MODE == "no space":
        raise OSError(28, "No space left on device")
    if _MODE == "silent":
        os._exit(3)
    if _MODE == "no result":
        os._exit(0)
    if _MODE in ("half", "garbage"):
        torch.jit.save = _save_half
    if _MODE in ("grandchild", "hang"):
        compiler = subprocess.Popen(["sleep", "600"])
        _record(compiler=compiler.pid)
    if _MODE == "litter":
        tempfile.mkdtemp()
        subprocess.run(["mktemp"], check=True, stdout=subprocess.DEVNULL)
    if _MODE == "hang":
        tempfile.mkdtemp()
        print("[1/3] scheduling", flush=True)
        time.sleep(600)
    if _MODE == "cpu trace":
        print("WARNING:Neuron:No operator is placed on Neuron runtime; returning a CPU trace")
    if _MODE == "logs target":
        os.makedirs(compiler_workdir)
        with open(os.path.join(compiler_workdir, "log-neuron-cc.txt"), "w") as file:
            file.write("INFO ['/opt/neuronx-cc', 'compile', '--framework', 'XLA', '--target', 'trn1']")
    target = compiler_args[compiler_args.index("--target") + 1] if "--target" in compiler_args else ""
    shown = {"ignores target": " --target trn1", "drops target": ""}.get(_MODE, f" --target {target}")
    print(f"INFO: /opt/bin/neuronx-cc compile --framework XLA graph.hlo{shown}")
"""

_INF1 = (
    _COMMON
    + """

def get_supported_operations():
    return ["aten::linear", "aten::relu", "aten::add", "aten::to"]


def trace(model, example_inputs, compiler_args=None, compiler_timeout=None, compiler_workdir=None,
          subgraph_builder_function=None, minimum_segment_size=2, single_fusion_ratio_threshold=0.6, fallback=True,
          dynamic_batch_size=False, optimizations=None, separate_weights=False@whitelist@, **kwargs):
    if not isinstance(model, torch.nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise TypeError(f"model is a {type(model)}")
    # What is left goes to torch.jit.trace, which refuses what it does not know.
    traced = torch.jit.trace(model, example_inputs, **kwargs)
    nodes = [node for node in traced.inlined_graph.nodes() if node.kind().startswith("aten::")]
    on_device = [n.kind() for n in nodes if subgraph_builder_function is None or subgraph_builder_function(n)]
    _record(compiler_args=compiler_args, compiler_timeout=compiler_timeout, compiler_workdir=compiler_workdir,
            fallback=fallback, dynamic_batch_size=dynamic_batch_size, separate_weights=separate_weights,
            filtered=subgraph_builder_function is not None, on_device=on_device,
            shapes=[list(x.shape) for x in example_inputs], kwargs=kwargs, pid=os.getpid()@recorded@)
    _behave(compiler_workdir=compiler_workdir)
    return None if _MODE == "nothing" else traced
"""
)

_INF2 = (
    _COMMON
    + """

class PartitionerConfig:
    def __init__(self, *, trace_kwargs=None, model_support_percentage_threshold=0.5, min_subgraph_size=-1,
                 max_subgraph_count=-1, ops_to_partition=None, analyze_parameters=None):
        self.ops_to_partition = ops_to_partition


def trace(func, example_inputs, *, input_output_aliases=None, compiler_workdir=None, compiler_args=None,
          partitioner_config=None, inline_weights_to_neff=True, cpu_backend=False):
    if cpu_backend and "--target" not in compiler_args:
        raise ValueError("cpu_backend needs --target")
    config = partitioner_config
    _record(compiler_args=compiler_args, compiler_workdir=compiler_workdir, cpu_backend=cpu_backend,
            inline_weights_to_neff=inline_weights_to_neff, partitioned=config is not None,
            ops_to_partition=config and config.ops_to_partition, shapes=[list(x.shape) for x in example_inputs],
            pid=os.getpid())
    _behave(compiler_args, compiler_workdir)
    return torch.jit.trace(func, example_inputs, strict=False)


def replace_weights(neuron_model, weights):
    if not isinstance(neuron_model, torch.jit.ScriptModule):
        raise TypeError(f"neuron_model is a {type(neuron_model)}")
    state = weights.state_dict() if isinstance(weights, torch.nn.Module) else weights
    neuron_model.load_state_dict(state)
    _record(replaced=sorted(state))


def dynamic_batch(neuron_script):
    _record(dynamic_batch=True)
    return neuron_script


def lazy_load(trace, enable_lazy_load=True):
    _record(lazy_load=enable_lazy_load)


def move_trace_to_device(trace, device_id):
    _record(device_id=device_id)
"""
)

# TorchNeuron's device cannot be faked in Python; its torch.compile backend can.
_NATIVE = (
    _COMMON
    + """
import torch._dynamo


def _backend(graph, example_inputs, **kwargs):
    names = [name for name in os.environ if name.startswith(("TORCH_NEURONX_", "NEURON_"))]
    _record(environment={name: os.environ[name] for name in names}, kwargs=list(kwargs),
            shapes=[list(x.shape) for x in example_inputs if isinstance(x, torch.Tensor)])
    _behave()
    tiers = ("TORCH_NEURONX_NEFF_CACHE_DIR", "TORCH_NEURONX_NEFF_LOCAL_CACHE_DIR")
    for tier in () if os.environ.get("TORCH_NEURONX_NEFF_DISABLE_CACHE") else tiers:
        os.makedirs(os.environ[tier], exist_ok=True)
        with open(os.path.join(os.environ[tier], "program.neff"), "w") as file:
            file.write("compiled")
    return graph.forward


torch._dynamo.reset()
if "neuron" in torch._dynamo.list_backends(exclude_tags=()):
    torch._dynamo.backends.registry._BACKENDS.pop("neuron", None)
    torch._dynamo.backends.registry._COMPILER_FNS.pop("neuron", None)
torch._dynamo.register_backend(_backend, name="neuron")
"""
)


_EXPERIMENTAL = """
from {package} import _record


def set_neuron_cores(trace, start_nc=-1, nc_count=-1):
    _record(start_nc=start_nc, nc_count=nc_count)
"""


class Double:
    """A fake SDK package in a directory.

    Args:
        directory: Put on `sys.path` by the caller.
        package: "torch_neuron" or "torch_neuronx".
        version: Its `__version__`.
        mode: What `trace` does: "" compiles; `_behave` has what can go wrong.
        native: Whether torch_neuronx is TorchNeuron.
        takes_op_whitelist: Whether `torch_neuron.trace` knows the undocumented op_whitelist.
    """

    def __init__(
        self,
        directory: Path,
        package: str,
        version: str,
        mode: str = "",
        takes_op_whitelist: bool = False,
        native: bool = False,
    ) -> None:
        self._record = directory / f"{package}.jsonl"
        whitelist, recorded = (", op_whitelist=None", ", op_whitelist=op_whitelist") if takes_op_whitelist else ("", "")
        source = _NATIVE if native else {"torch_neuron": _INF1, "torch_neuronx": _INF2}[package]
        fields = {"version": repr(version), "record": repr(str(self._record)), "mode": repr(mode)}
        for name, value in {**fields, "whitelist": whitelist, "recorded": recorded}.items():
            source = source.replace(f"@{name}@", value)
        self._path = directory / package / "__init__.py"
        self._path.parent.mkdir(parents=True)
        self._path.write_text(source, encoding="utf-8")
        self._path.with_name("experimental.py").write_text(_EXPERIMENTAL.format(package=package), encoding="utf-8")

    def set_mode(self, mode: str) -> None:
        """Behave otherwise from now on, in processes that start from now on."""
        source = re.sub(r"(?m)^_MODE = .*$", f"_MODE = {mode!r}", self._path.read_text(encoding="utf-8"))
        self._path.write_text(source, encoding="utf-8")

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What `trace` and its companions were called with, in order."""
        if not self._record.exists():
            return []
        return [json.loads(line) for line in self._record.read_text(encoding="utf-8").splitlines()]

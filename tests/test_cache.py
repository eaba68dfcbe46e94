"""The compile cache: the same ingredients hit, any other miss, a damaged entry is built again."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import neuronkit
from neuronkit import CompiledModel, CompileOptions, TensorSpec, compile_for_inferentia
from neuronkit.cache import CompileCache
from neuronkit.errors import CompileError, OptionError
from neuronkit.models import PARSeq
from neuronkit.storage.sealed import read_manifest, save_directory

X = TensorSpec("x", (2, 4))
# A process of its own, with neither torch nor a model: it finds or builds one entry, and says which.
BUILDER = """
import sys, time, neuronkit.cache
cache = neuronkit.cache.CompileCache(sys.argv[1])
def fill(directory):
    open(sys.argv[2], "a").write("built\\n")
    time.sleep(float(sys.argv[3]))
    (directory / "result").write_text("compiled")
with cache.slot({"target": "inf2"}, graph="main") as slot:
    if slot.path is None:
        slot.store(fill, {})
    print(slot.status)
"""


class Scaled(nn.Module):
    """A small model with a constant, and a tensor that is no weight."""

    def __init__(self, constant: float = 2.0, offset: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 3)
        self.constant, self.offset = constant, torch.full((3,), offset)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * self.constant + self.offset


def build(cache: Path, model: nn.Module | None = None, spec: TensorSpec = X, **arguments: Any) -> CompiledModel:
    options = CompileOptions(cache_dir=cache)
    return compile_for_inferentia(model or Scaled(), spec, target="cpu", options=options, **arguments)


def record(compiled: CompiledModel, graph: str = "main") -> dict[str, str]:
    return compiled.manifest["cache"][graph]  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one entry."""
    directory = tmp_path_factory.mktemp("shared") / "cache"
    assert record(build(directory))["status"] == "miss"
    return directory


def test_the_second_compile_finds_the_first(filled: Path, tmp_path: Path) -> None:
    x = torch.randn(2, 4)
    found = build(filled)
    assert record(found)["status"] == "hit"
    assert record(found)["key"] == CompileCache(filled).entries()[0].key
    with torch.no_grad():
        assert torch.allclose(found(x), Scaled()(x))
    assert found.manifest["parity"]["compiled"]["passed"] is True
    assert neuronkit.load(found.save(tmp_path / "m.pt")).manifest == found.manifest


def test_another_process_in_another_directory_finds_it(filled: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.py").write_text(
        "import sys, torch\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from test_cache import Scaled, build, record\n"
        "model = Scaled()\n"
        "torch.save(model.state_dict(), 'w.pt')\n"
        "again = Scaled()\n"
        "again.load_state_dict(torch.load('w.pt'))\n"
        "print(record(build(sys.argv[2], again))['status'])\n"
    )
    command = [sys.executable, "-W", "ignore", str(tmp_path / "elsewhere.py"), str(Path(__file__).parent), str(filled)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == ["hit"], done.stderr


def one_bit_more() -> nn.Module:
    model = Scaled()
    with torch.no_grad():
        model.linear.weight.view(torch.int32)[0, 0] ^= 1
    return model


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"model": one_bit_more()}, "weights: "),
        ({"model": Scaled(constant=2.5)}, "graph: "),
        ({"model": Scaled(offset=1.5)}, "graph: "),
        ({"spec": TensorSpec("x", (3, 4))}, "inputs[0].shape: [2, 4] → [3, 4]"),
        ({"spec": TensorSpec("y", (2, 4))}, "inputs[0].name: x → y"),
        (
            {"model": Scaled().double(), "spec": TensorSpec("x", (2, 4), "float64")},
            "inputs[0].dtype: float32 → float64",
        ),
        ({"op_whitelist": ["aten::add"]}, "op_whitelist: [] → ['aten::add']"),
    ],
)
def test_another_ingredient_misses_and_is_named(filled: Path, tmp_path: Path, arguments: Any, named: str) -> None:
    shutil.copytree(filled, tmp_path / "cache")
    first = build(tmp_path / "cache", **arguments)
    assert record(first)["status"] == "miss"
    assert record(first)["why"].startswith("no entry; the nearest of graph 'main' for target 'cpu' differs in ")
    assert named in record(first)["why"]
    assert record(build(tmp_path / "cache", **arguments))["status"] == "hit"


@pytest.mark.parametrize(
    ("place", "value", "named"),
    [
        ("torch.__version__", "9.9.9", "versions.torch: "),
        ("platform.python_version", lambda: "3.99.0", "versions.python: "),
        ("platform.machine", lambda: "riscv64", "platform: "),
        ("neuronkit.version.__version__", "99.0", "versions.neuronkit: "),
    ],
)
def test_another_version_misses_and_is_named(
    filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, value: Any, named: str
) -> None:
    shutil.copytree(filled, tmp_path / "cache")
    monkeypatch.setattr(place, value)
    compiled = build(tmp_path / "cache")
    assert record(compiled)["status"] == "miss"
    assert f"differs in {named}" in record(compiled)["why"]
    assert "; and" not in record(compiled)["why"]


def test_what_does_not_influence_the_result_hits(filled: Path) -> None:
    assert record(build(filled, progress=False, verify=False))["status"] == "hit"
    renamed = type("Renamed", (Scaled,), {})()
    assert record(build(filled, renamed))["status"] == "hit"


def test_an_encoder_survives_a_change_in_the_decoder(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = PARSeq(36, embed_dim=32, enc_depth=1, enc_num_heads=2, dec_num_heads=2, patch_size=(8, 16))
    options = CompileOptions(cache_dir=tmp_path)

    def statuses() -> dict[str, str]:
        compiled = compile_for_inferentia(neuronkit.StaticPARSeq(model), target="cpu", options=options)
        return {graph: fields["status"] for graph, fields in compiled.manifest["cache"].items()}

    assert statuses() == {"encode": "miss", "decode": "miss"}
    with torch.no_grad():
        model.head.weight[0, 0] += 1
    assert statuses() == {"encode": "hit", "decode": "miss"}


def test_the_environment_names_a_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEURONKIT_CACHE_DIR", str(tmp_path / "cache"))
    assert compile_for_inferentia(Scaled(), X, target="cpu").manifest["cache"]["main"]["status"] == "miss"
    assert compile_for_inferentia(Scaled(), X, target="cpu").manifest["cache"]["main"]["status"] == "hit"


def test_without_a_cache_the_manifest_says_nothing_of_one() -> None:
    assert compile_for_inferentia(Scaled(), X, target="cpu").manifest["cache"] == {}


def files_of(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "entries").rglob("*") if path.is_file())


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(which=st.integers(0, 2), place=st.floats(0, 1, exclude_max=True), flip=st.integers(0, 255))
def test_a_damaged_entry_is_built_again(filled: Path, tmp_path: Path, which: int, place: float, flip: int) -> None:
    """A flipped byte, or a file cut there (flip 0)."""
    shutil.copytree(filled, tmp_path / "cache", dirs_exist_ok=True)
    file = files_of(tmp_path / "cache")[which]
    contents = bytearray(file.read_bytes())
    at = int(place * len(contents))
    contents[at] ^= flip
    file.write_bytes(contents if flip else contents[:at])
    assert_rebuilt(tmp_path / "cache", file.name)


@pytest.mark.parametrize("name", ["SHA256SUMS", "compiled.pt", "neuronkit.json"])
def test_an_entry_without_a_file_is_built_again(
    filled: Path, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(filled, tmp_path / "cache")
    next((tmp_path / "cache").rglob(name)).unlink()
    assert_rebuilt(tmp_path / "cache", name)
    assert [r.levelname for r in caplog.records if r.name == "neuronkit.cache"] == ["WARNING"]


def test_an_entry_under_anothers_name_is_built_again(tmp_path: Path) -> None:
    models = Scaled(), Scaled(constant=3.0)
    one, other = (CompileCache(tmp_path).path(record(build(tmp_path, model))["key"]) for model in models)
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)
    x = torch.randn(2, 4)
    for model in models:
        again = build(tmp_path, model, verify=False)
        assert record(again)["status"] == "rebuilt"
        with torch.no_grad():
            assert torch.allclose(again(x), model(x))


@pytest.mark.parametrize("kind", ["file", "link to nowhere"])
def test_what_is_no_directory_is_built_again(filled: Path, tmp_path: Path, kind: str) -> None:
    shutil.copytree(filled, tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "entries").iterdir()
    shutil.rmtree(entry)
    entry.touch() if kind == "file" else entry.symlink_to(tmp_path / "nowhere")
    assert_rebuilt(tmp_path / "cache", "SHA256SUMS")
    assert len(CompileCache(tmp_path / "cache").clear()) == 1
    assert list((tmp_path / "cache" / "entries").iterdir()) == []


def test_an_entry_that_cannot_be_loaded_is_built_again(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(directory: Path) -> None:
        raise RuntimeError("unknown operator")

    monkeypatch.setattr("neuronkit.targets.cpu._load", refuse)
    again = record(build(filled))
    assert again["status"] == "rebuilt"
    assert again["why"] == "the entry is damaged: it cannot be loaded (unknown operator)"


@pytest.mark.parametrize("change", [{"created": 3}, {"details": None}, {"details": {}}, {"format": None}, None])
def test_a_sealed_entry_that_describes_itself_badly_is_built_again(
    filled: Path, tmp_path: Path, change: dict[str, Any] | None
) -> None:
    shutil.copytree(filled, tmp_path / "cache")
    (entry,) = (tmp_path / "cache" / "entries").iterdir()
    manifest = {**read_manifest(entry), **change} if change is not None else ["no", "manifest"]
    result = (entry / "compiled.pt").read_bytes()
    save_directory(entry, manifest, lambda work: (work / "compiled.pt").write_bytes(result) and None)
    assert record(build(tmp_path / "cache", verify=False))["status"] == "rebuilt"
    assert record(build(tmp_path / "cache", verify=False))["status"] == "hit"


def assert_rebuilt(cache: Path, name: str) -> None:
    again = build(cache, verify=False)
    assert record(again)["status"] == "rebuilt"
    assert f"the entry is damaged: '{cache}" in record(again)["why"]
    assert name in record(again)["why"]
    assert record(build(cache, verify=False))["status"] == "hit"
    assert [path.name for path in (cache / "entries").iterdir()] == [record(again)["key"]]


def test_a_full_disk_loses_the_entry_and_not_the_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    compiled = build(tmp_path)
    x = torch.randn(2, 4)
    with torch.no_grad():
        assert torch.allclose(compiled(x), Scaled()(x))
    assert "; not stored: " in record(compiled)["why"]
    assert "No space left on device" in record(compiled)["why"]
    assert "not kept in the cache" in caplog.text
    assert list((tmp_path / "entries").iterdir()) == []


def test_a_cache_that_cannot_be_written_still_serves(
    filled: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    really_open = os.open

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    def open_read_only(path: Any, flags: int, *rest: int) -> int:
        if flags & (os.O_CREAT | os.O_RDWR):
            raise OSError(30, "Read-only file system")
        return really_open(path, flags, *rest)

    monkeypatch.setattr(os, "open", open_read_only)
    monkeypatch.setattr(Path, "mkdir", read_only)
    monkeypatch.setattr(os, "utime", read_only)
    assert record(build(filled))["status"] == "hit"
    other = build(filled, Scaled(constant=3.0))
    assert "Read-only file system" in record(other)["why"]
    assert "not kept in the cache" in caplog.text


def test_a_cache_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="file' is a file; give a directory"):
        build(tmp_path / "file")
    with pytest.raises(OptionError, match=r"cannot be made \(Not a directory\)"):
        build(tmp_path / "file" / "cache")


def test_a_directory_that_cannot_be_asked_for_is_refused() -> None:
    with pytest.raises(OptionError, match=r"a path of 300 bytes"):
        CompileCache("x" * 300)


def test_hits_and_misses_are_logged_and_shown(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    with caplog.at_level(logging.INFO, "neuronkit.cache"):
        build(tmp_path)
        build(tmp_path, progress=True)
    first, second = (r.message for r in caplog.records if r.name == "neuronkit.cache")
    assert first.startswith("graph 'main', miss ")
    assert "no entry of graph 'main' for target 'cpu' yet" in first
    assert second.startswith("graph 'main', hit ")
    assert "cache: graph 'main', hit " in capsys.readouterr().err


def put(cache: CompileCache, name: str, size: int = 1000) -> str:
    with cache.slot({"target": "inf2", "name": name}, graph=name) as slot:
        slot.store(lambda directory: (directory / "result").write_bytes(b"x" * size) and None, {})
        return slot.key


def names(cache: CompileCache) -> list[str]:
    return [entry.graph for entry in cache.entries()]


def test_entries_are_listed_and_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    keys = {name: put(cache, name) for name in "abc"}
    for age, name in enumerate("bca"):
        os.utime(cache.path(keys[name]), (1e9 - age, 1e9 - age))
    assert names(cache) == ["b", "c", "a"]
    entry = cache.entries()[0]
    assert (entry.key, entry.target, entry.ingredients) == (keys["b"], "inf2", {"target": "inf2", "name": "b"})
    assert entry.bytes == sum(file.stat().st_size for file in cache.path(keys["b"]).iterdir())
    assert cache.size == 3 * entry.bytes
    assert [row.split()[:3] for row in repr(cache).splitlines()[1:]] == [[keys[n][:12], n, "inf2"] for n in "bca"]
    removed = cache.prune(cache.size - 1)
    assert [entry.graph for entry in removed] == ["a"]
    assert [entry.graph for entry in cache.clear()] == ["c", "b"]
    assert cache.size == 0


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _saying(**fields: Any) -> Any:
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    "spoil",
    [
        _pipe,
        lambda path: path.write_text("[" * 100_000),
        lambda path: path.write_bytes(b"\xff"),
        lambda path: path.write_bytes(bytes(9 << 20)),
        _saying(graph=None),
        _saying(graph=["a"]),
        _saying(target="\x1b[31mred"),
        _saying(ingredients=[1]),
        _saying(created=5),
    ],
)
def test_an_entry_that_describes_itself_badly_is_listed_without_its_words(spoil: Any, tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    key = put(cache, "a")
    spoil(cache.path(key) / "neuronkit.json")
    (entry,) = cache.entries()
    assert (entry.key, entry.graph, entry.target, entry.ingredients) == (key, "?", "?", {})
    assert f"{key[:12]}  ?" in repr(cache)
    assert cache.nearest("a", {"target": "inf2"}) is None
    assert list(cache.verify()) == [key]
    assert len(cache.clear()) == 1


def test_a_hit_counts_as_use(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    for age, name in enumerate("ab"):
        os.utime(cache.path(put(cache, name)), (1e9 - age, 1e9 - age))
    with cache.slot({"target": "inf2", "name": "b"}, graph="b") as slot:
        assert slot.status == "hit"
    assert names(cache) == ["b", "a"]


def test_an_entry_in_use_is_not_removed(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    put(cache, "a")
    with cache.slot({"target": "inf2", "name": "a"}, graph="a") as slot:
        assert cache.clear() == ()
        assert slot.path is not None
        assert slot.path.exists()
    assert len(cache.clear()) == 1


def test_the_limit_is_kept_after_each_new_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(CompileCache(tmp_path), "a")
    monkeypatch.setenv("NEURONKIT_CACHE_MAX_BYTES", "2.5e3")
    cache = CompileCache(tmp_path)
    os.utime(next((tmp_path / "entries").iterdir()), (1e9, 1e9))
    put(cache, "b")
    assert names(cache) == ["b"]
    for bad in ("much", -1, float("nan")):
        with pytest.raises(OptionError, match=f"max_bytes={bad!r}; expected a number of bytes"):
            CompileCache(tmp_path, max_bytes=bad)  # type: ignore[arg-type]


PRUNER = """
import sys, neuronkit.cache
cache = neuronkit.cache.CompileCache(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(len(cache.prune(int(sys.argv[2]))))
"""


def test_two_processes_that_prune_at_once_remove_no_more_than_one_would(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    for i in range(40):
        put(cache, f"graph-{i}")
    limit, largest = cache.size // 2, max(entry.bytes for entry in cache.entries())
    command = [sys.executable, "-c", PRUNER, str(tmp_path), str(limit)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    pruners = [subprocess.Popen(command, env=environment, text=True, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    for pruner in pruners:
        assert pruner.stdout.readline() == "ready\n"
    for pruner in pruners:
        pruner.stdin.write("\n")
        pruner.stdin.flush()
    removed = [int(pruner.communicate(timeout=60)[0]) for pruner in pruners]
    assert sum(removed) == 40 - len(cache.entries())
    assert limit - largest < cache.size <= limit


def test_what_is_no_entry_is_not_touched(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    put(cache, "a")
    for name in ("README", ".hidden.file", "lost+found"):
        (tmp_path / "entries" / name).touch()
    assert names(cache) == ["a"]
    assert len(cache.clear()) == 1
    assert sorted(os.listdir(tmp_path / "entries")) == [".hidden.file", "README", "lost+found"]


def test_a_damaged_manifest_is_still_listed_and_removed(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    (cache.path(put(cache, "a")) / "neuronkit.json").write_text("{")
    assert names(cache) == ["?"]
    assert len(cache.clear()) == 1


def test_others_may_read_entries_as_umask_says(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        path = CompileCache(tmp_path).path(put(CompileCache(tmp_path), "a"))
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o750
    assert {file.stat().st_mode & 0o777 for file in path.iterdir()} == {0o640}


def start_builder(cache: Path, takes_s: float = 0.0) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", BUILDER, str(cache), str(cache.parent / "built.txt"), str(takes_s)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def wait_for_file(path: Path) -> None:
    until = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_eight_processes_build_once(tmp_path: Path) -> None:
    builders = [start_builder(tmp_path / "cache", 0.5) for _ in range(8)]
    printed = sorted(builder.communicate(timeout=60)[0].strip() for builder in builders)
    assert printed == ["hit"] * 7 + ["miss"]
    assert (tmp_path / "built.txt").read_text() == "built\n"


def test_a_killed_builder_does_not_block_the_next_and_its_leftovers_go(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path / "cache")
    builder = start_builder(cache.directory, 600)
    wait_for_file(tmp_path / "built.txt")
    builder.kill()
    builder.communicate()
    assert cache.entries() == ()
    assert len(list((cache.directory / "entries").iterdir())) == 1
    assert start_builder(cache.directory).communicate(timeout=60)[0] == "miss\n"
    assert [path.name for path in (cache.directory / "entries").iterdir()] == [cache.entries()[0].key]


def test_waiting_is_told_and_ends_at_the_deadline(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    told: list[Any] = []
    with cache.slot({"target": "inf2"}, graph="main"):
        deadline = time.monotonic() + 0.3
        with (
            pytest.raises(CompileError, match=r"another process was still building it after \d+ s.*timeout_s=\.\.\."),
            cache.slot({"target": "inf2"}, graph="main", deadline=deadline, report=told.append),
        ):
            pass
    assert re.fullmatch(r"waiting \d+ s for another process that compiles the same", told[0])


def test_ingredients_are_kept_as_json(filled: Path) -> None:
    (entry,) = CompileCache(filled).entries()
    assert json.loads(json.dumps(entry.ingredients)) == entry.ingredients
    assert set(entry.ingredients) == {
        "target", "options", "op_whitelist", "arguments", "versions", "platform", "environment", "inputs", "graph",
        "weights",
    }  # fmt: skip
    assert str(Path.cwd()) not in json.dumps(entry.ingredients)


def test_a_run_that_finds_its_entry_removes_what_killed_builders_left(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    ingredients = {"target": "cpu"}
    with cache.slot(ingredients, graph="main") as slot:
        slot.store(lambda directory: (directory / "a").touch(), {})
    left = tmp_path / "entries" / f".{'0' * 64}.{'a' * 32}"
    left.mkdir()
    with cache.slot(ingredients, graph="main") as slot:
        assert slot.status == "hit"
    assert not left.exists()

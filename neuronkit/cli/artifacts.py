"""``neuronkit show``, ``env``, ``cache`` and ``serve``."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

Result = tuple[Any, int]


def add_commands(add: Any) -> None:
    """Add the commands of this file."""
    show = add("show", _show, "say what an artifact is, after checking every byte of it", "neuronkit show parseq.pt")
    show.add_argument("artifact")
    env = add("env", _env, "say what is installed, and which targets can compile here", "neuronkit env")
    env.add_argument("artifact", nargs="?", help="compare with the compiler that built it")
    cache = add("cache", _cache, "list, prune or verify compiled graphs", "neuronkit cache prune --max-bytes 20e9")
    cache.add_argument("action", choices=("list", "prune", "verify"))
    cache.add_argument("--directory", help="the cache (the variable NEURONKIT_CACHE_DIR)")
    cache.add_argument("--max-bytes", type=float, help="what to leave (the variable NEURONKIT_CACHE_MAX_BYTES)")
    example = "neuronkit serve triton detector.pt recognizer.pt"
    serve = add(
        "serve",
        _serve,
        "serve artifacts with Triton or Ray until stopped: Ctrl-C and SIGTERM end with status 0",
        example,
    )
    serve.add_argument("server", choices=("triton", "ray"))
    serve.add_argument("artifacts", nargs="+", help="a detector and a recogniser; of Triton any artifacts")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    serve.add_argument(
        "--port", type=int, default=8000, help="of HTTP; Triton takes the next two as well (%(default)s)"
    )


def _show(given: Any) -> Result:
    from neuronkit.artifact.loading import described_artifact

    # Loading would run what the artifact says, and need the SDK it was compiled with.
    model = described_artifact(given.artifact)
    return (model.manifest if given.json else repr(model)), 0


def _env(given: Any) -> Result:
    from neuronkit import describe_environment

    return describe_environment(given.artifact), 0


def _cache(given: Any) -> Result:
    from neuronkit.cache import CompileCache
    from neuronkit.errors import OptionError

    directory = given.directory or os.environ.get("NEURONKIT_CACHE_DIR")
    if not directory:
        raise OptionError("got no cache; expected its directory; give --directory, or set NEURONKIT_CACHE_DIR")
    cache = CompileCache(directory)
    if given.action == "verify":
        broken = cache.verify()
        lines = [f"{len(cache.entries())} entries, {len(broken)} broken", *broken.values()]
        return (broken if given.json else "\n".join(lines)), bool(broken)
    if given.action == "prune":
        removed = cache.prune(given.max_bytes)
        return _entries(removed, given.json, f"{len(removed)} removed"), 0
    return _entries(cache.entries(), given.json, f"{cache.directory}: {len(cache.entries())} entries"), 0


def _entries(entries: Any, as_json: bool, headline: str) -> Any:
    if not as_json:
        return "\n".join([headline, *map(str, entries)])
    names = ("key", "graph", "target", "bytes", "created", "last_used")
    return [{name: getattr(entry, name) for name in names} for entry in entries]


def _serve(given: Any) -> Result:
    from neuronkit import checks
    from neuronkit.errors import OptionError

    # Triton takes the next two ports as well.
    checks.integer("--port", given.port, 1, 65535 - 2)
    if given.server == "ray" and len(given.artifacts) != 2:
        raise OptionError(f"got {len(given.artifacts)} for Ray; expected a detector and a recogniser; give both")
    try:
        with _interruptible():
            return None, (_serve_triton if given.server == "triton" else _serve_ray)(given)
    except KeyboardInterrupt:
        # It has done what it was asked for.
        return None, 0


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within, signals that stop a service raise KeyboardInterrupt, so that everything is tidied up."""
    # Containers stop services by SIGTERM; and a shell's background jobs ignore SIGINT, unless they say otherwise.
    before = {number: signal.signal(number, signal.default_int_handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for one that is not Python's.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _serve_triton(given: Any) -> int:
    from neuronkit.serving.triton import export_repository
    from neuronkit.serving.triton.__main__ import main
    from neuronkit.storage.atomic import temporary_directory

    with temporary_directory("serve") as folder:
        repository = folder / "models"
        export_repository(list(given.artifacts), repository)
        ports = zip(("http", "grpc", "metrics"), range(given.port, given.port + 3))
        return main([str(repository), "--host", given.host, *(f"--{name}-port={port}" for name, port in ports)])


def _serve_ray(given: Any) -> int:
    from neuronkit.serving.ray import build_app

    # First, because it says what is wrong with an artifact, or with Ray.
    app = build_app(*map(os.path.abspath, given.artifacts))
    from ray import serve

    serve.start(http_options={"host": given.host, "port": given.port})
    # Ray has put its own in their place.
    with _interruptible():
        serve.run(app, blocking=True)
    return 0

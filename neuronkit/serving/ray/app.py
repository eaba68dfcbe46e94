"""build_app: a detector and a recogniser as a Ray Serve application."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from neuronkit.errors import OptionError
from neuronkit.serving.artifact import ArtifactLike, ServedArtifact, portable_pair
from neuronkit.serving.ray.options import AppOptions
from neuronkit.serving.ray.requirement import require_ray

# Of a node's proxy, with a file descriptor each.
_CONNECTIONS = 1 << 16


def build_app(
    detector: ArtifactLike,
    recognizer: ArtifactLike,
    *,
    batch_size: int | None = None,
    batch_wait_s: float = 0.01,
    min_replicas: int = 1,
    max_replicas: int = 2,
    num_cpus: float = 1.0,
    neuron_cores: int | None = None,
    timeout_s: float = 60.0,
    body_timeout_s: float = 10.0,
    max_request_bytes: int = 16 << 20,
    max_pixels: int = 50_000_000,
    max_queued_requests: int = 256,
    attempts: int = 3,
    drain_s: float = 30.0,
    health_check_s: float = 10.0,
) -> Any:
    """Build an application that reads pages: POST the bytes of an image file, get the page as JSON.

    Args:
        detector: The detector's artifact: a path that holds it on every node; or, for small ones, its bytes or the
            `CompiledModel`, which then travel within the application.
        recognizer: The recogniser's, likewise.
        batch_size: Pages read together, at most; None takes the larger of the two compiled batches.
        batch_wait_s: How long a page waits for others, at most, when no batch is at work.
        min_replicas: Replicas that always run.
        max_replicas: Replicas that Ray may start under load.
        num_cpus: CPUs reserved for a replica.
        neuron_cores: NeuronCores reserved for a replica, as Ray's resource ``neuron_cores``; None takes what the
            artifacts were compiled for: none for ``"cpu"``. Ray gives each replica cores of its own, through
            NEURON_RT_VISIBLE_CORES.
        timeout_s: From the arrival of an image to its page.
        body_timeout_s: For the arrival of a request's body. It bounds how long a client that sends slowly, or not at
            all, holds a connection.
        max_request_bytes: Largest body.
        max_pixels: Largest image that is decoded, in pixels.
        max_queued_requests: Requests that may wait for a replica; further ones are refused at once.
        attempts: Replicas that may die with an image before it is given up.
        drain_s: How long a replica that is stopped may go on with the requests it has.
        health_check_s: Time between two health checks.

    Returns:
        A `ray.serve.Application`, for `serve.run` or the command ``serve run``.

    Raises:
        MissingDependencyError: If Ray is missing, broken or too old.
        ArtifactError: If an artifact is missing, cut or changed.
        OptionError: If an option has a bad value, or an artifact has no processor or plays the other role.

    Examples:
        ```python
        ray.serve.run(build_app("detector.pt", "recognizer.pt", batch_size=4))
        ```
    """
    require_ray("ray.serve")
    finder, reader = portable_pair(detector, recognizer)
    options = AppOptions(
        batch_size=max(finder.batch_size, reader.batch_size) if batch_size is None else batch_size,
        batch_wait_s=batch_wait_s,
        min_replicas=min_replicas,
        max_replicas=max_replicas,
        num_cpus=num_cpus,
        neuron_cores=max(finder.neuroncores, reader.neuroncores) if neuron_cores is None else neuron_cores,
        timeout_s=timeout_s,
        body_timeout_s=body_timeout_s,
        max_request_bytes=max_request_bytes,
        max_pixels=max_pixels,
        max_queued_requests=max_queued_requests,
        attempts=attempts,
        drain_s=drain_s,
        health_check_s=health_check_s,
    )
    return _application(finder, reader, options)


def serve_app(arguments: Mapping[str, Any]) -> Any:
    """`build_app` as the command ``serve run`` and a Serve config file call it.

    Args:
        arguments: The names and values of `build_app`; numbers may be text, as a command line gives them.

    Returns:
        The application.

    Raises:
        OptionError: If a name is unknown, or one of the artifacts is missing; and whatever `build_app` raises.

    Examples:
        ```yaml
        import_path: neuronkit.serving.ray:serve_app
        args: {detector: detector.pt, recognizer: recognizer.pt}
        ```
    """
    known = list(inspect.signature(build_app).parameters)
    unknown = sorted(set(arguments) - set(known))
    missing = [name for name in known[:2] if name not in arguments]
    if unknown or missing:
        raise OptionError(
            f"the application has no arguments {unknown}, and needs {missing}; expected detector, recognizer and some "
            f"of {', '.join(known[2:])}"
        )
    return build_app(**{name: value if name in known[:2] else _number(value) for name, value in arguments.items()})


def _number(value: Any) -> Any:
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _application(detector: ServedArtifact, recognizer: ServedArtifact, options: AppOptions) -> Any:
    from ray import serve

    from neuronkit.serving.ray.ingress import Ingress
    from neuronkit.serving.ray.replica import Reader

    common = {"graceful_shutdown_timeout_s": options.drain_s, "health_check_period_s": options.health_check_s}
    resources = {"neuron_cores": options.neuron_cores} if options.neuron_cores else {}
    reader = serve.deployment(
        Reader,
        name="Reader",
        ray_actor_options={"num_cpus": options.num_cpus, "resources": resources},
        max_ongoing_requests=options.max_ongoing_requests,
        max_queued_requests=options.max_queued_requests,
        autoscaling_config={
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            # One batch at work and one that waits keep a replica busy.
            "target_ongoing_requests": 2 * options.batch_size,
        },
        **common,
    )
    ingress = serve.deployment(
        Ingress,
        name="Ingress",
        # It waits, and does not compute.
        ray_actor_options={"num_cpus": 0},
        # Requests whose body is still on its way must not keep others out. The bytes of bodies are what is bounded,
        # and the readers refuse what is too much for them, with an answer that says why.
        max_ongoing_requests=_CONNECTIONS,
        **common,
    )
    return ingress.bind(reader.bind(detector, recognizer, options), options)

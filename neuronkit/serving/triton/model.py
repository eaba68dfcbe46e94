"""A model of Triton's Python backend. The work is done in neuronkit; this file passes tensors to and fro."""

from __future__ import annotations

import json
import os
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from neuronkit.serving.triton.placement import cores_of_instance


class TritonPythonModel:
    """One process that serves one version of a model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load and warm up, on this instance's own NeuronCores where config.pbtxt gives it some."""
        cores = cores_of_instance(args["model_instance_name"])
        if cores is not None:
            # The Neuron runtime reads it once, when it starts: so before anything imports torch or an SDK.
            os.environ["NEURON_RT_VISIBLE_CORES"] = cores
        from neuronkit.serving.triton.backend import load_served

        config = json.loads(args["model_config"])
        self.inputs = [entry["name"] for entry in config["input"]]
        given = {name: value["string_value"] for name, value in config["parameters"].items()}
        version = Path(args["model_repository"], args["model_version"])
        self.model = load_served(version, given.get("kind"), max_pixels=int(given["max_pixels"]))
        self.model.warm_up()
        threading.Thread(target=end_with_parent, args=(os.getppid(),), daemon=True).start()
        self.metrics = Metrics(self.model, args)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer requests that Triton's dynamic batcher put together."""
        from neuronkit.serving.triton.backend import Request

        live = [request for request in requests if not request.is_cancelled()]
        answers = self.model.answer(
            [Request(partial(self.read, request), request.requested_output_names()) for request in live]
        )
        self.metrics.update(answers)
        responses = dict(zip(map(id, live), map(respond, answers)))
        return [responses.get(id(request)) or cancelled() for request in requests]

    def read(self, request: Any) -> dict[str, Any]:
        """The inputs that a request has, by name."""
        tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self.inputs}
        return {name: tensor.as_numpy() for name, tensor in tensors.items() if tensor is not None}


def respond(answer: Any) -> Any:
    """Make Triton's response of a request's outputs, or of its error."""
    from neuronkit.errors import NeuronKitError

    if not isinstance(answer, Exception):
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])
    code = pb_utils.TritonError.INVALID_ARG if isinstance(answer, NeuronKitError) else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(answer).__name__}: {answer}", code))


def cancelled() -> Any:
    """The response to a request that nobody waits for."""
    return pb_utils.InferenceResponse(
        error=pb_utils.TritonError("the request was cancelled", pb_utils.TritonError.CANCELLED)
    )


def end_with_parent(parent: int, interval_s: float = 1.0) -> None:
    """End this process when the server's has gone, however it ended: nobody else would."""
    while os.getppid() == parent:
        time.sleep(interval_s)
    os._exit(1)


class Metrics:
    """What neuronkit counts, beside Triton's own metrics on the same page."""

    def __init__(self, model: Any, args: dict[str, str]) -> None:
        from neuronkit.serving.triton.metering import DESCRIPTIONS

        self.model = model
        labels = {
            "model": args["model_name"],
            "version": args["model_version"],
            "instance": args["model_instance_name"],
        }
        self.families = {name: counter_family(name, text) for name, text in DESCRIPTIONS.items()}
        self.errors_family = counter_family("request_errors", "Requests answered with an error")
        self.errors = self.errors_family.Metric(labels=labels)
        self.counters = {
            (graph, name): family.Metric(labels={**labels, "graph": graph})
            for graph in model.models
            for name, family in self.families.items()
        }

    def update(self, answers: list[Any]) -> None:
        """Add what was computed since the last call."""
        self.errors.increment(sum(isinstance(answer, Exception) for answer in answers))
        for graph, model in self.model.models.items():
            for name, amount in model.take().items():
                self.counters[graph, name].increment(amount)


def counter_family(name: str, description: str) -> Any:
    """A counter, one for each set of labels."""
    kind = pb_utils.MetricFamily.COUNTER
    return pb_utils.MetricFamily(name=f"neuronkit_{name}_total", description=description, kind=kind)

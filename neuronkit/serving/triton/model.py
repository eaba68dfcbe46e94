"""A model of Triton's Python backend. The work is done in neuronkit; this file converts tensors between the two."""

from __future__ import annotations

import faulthandler
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import triton_python_backend_utils as pb_utils

from neuronkit.serving.triton.placement import cores_of_instance
from neuronkit.serving.triton.probe import MARK

# Seconds between two checks for requests that were cancelled or have waited too long.
_SWEEP_S = 0.25
_FROZEN_S = 120.0

_log = logging.getLogger(__name__)


class TritonPythonModel:
    """One process that serves one version of a model.

    `execute` only puts requests into a queue, from which a thread takes them in batches; see
    `neuronkit.serving.triton.waiting` for why that is not left to Triton.
    """

    def initialize(self, args: dict[str, str]) -> None:
        """Load and warm up, on this instance's own NeuronCores where config.pbtxt gives it some."""
        cores = cores_of_instance(args["model_instance_name"])
        if cores is not None:
            # The Neuron runtime reads it once, when it starts: so before anything imports torch or an SDK.
            os.environ["NEURON_RT_VISIBLE_CORES"] = cores
        from neuronkit.serving.triton.backend import load_served
        from neuronkit.serving.triton.waiting import Waiting

        config = json.loads(args["model_config"])
        self.inputs = [entry["name"] for entry in config["input"]]
        given = {name: value["string_value"] for name, value in config["parameters"].items()}
        version = Path(args["model_repository"], args["model_version"])
        self.model = load_served(version, given.get("kind"), max_pixels=int(given["max_pixels"]))
        self.model.warm_up()
        self.timeout_s = float(given["queue_timeout_s"])
        self.waiting = Waiting(
            size=int(given["max_queue_size"]),
            rows=int(config["max_batch_size"]),
            delay_s=int(given["max_queue_delay_us"]) / 1e6,
        )
        self.metrics = Metrics(self.model, args)
        self.worker = threading.Thread(target=end_with_error, args=(self.work,), daemon=True)
        self.worker.start()
        for function, *arguments in ((self.sweep,), (end_with_parent, os.getppid())):
            threading.Thread(target=end_with_error, args=(function, *arguments), daemon=True).start()

    def execute(self, requests: list[Any]) -> None:
        """Let requests wait for a batch, or refuse them where there is no room."""
        from neuronkit.serving.triton.waiting import Entry

        for request in requests:
            timeout_s = min(self.timeout_s, request.timeout() / 1e6 or self.timeout_s)
            ahead = MARK in json.loads(request.parameters() or "{}")
            entry = Entry(request, self.read(request), timeout_s, ahead)
            if self.waiting.put(entry):
                continue
            # Those for which nobody waits any longer make room.
            self.remove_those_over()
            if not self.waiting.put(entry):
                self.refuse(request, "the queue is full", pb_utils.TritonError.UNAVAILABLE)

    def read(self, request: Any) -> Any:
        """The inputs that a request has, by name, or why they cannot be read."""
        try:
            tensors = {name: pb_utils.get_input_tensor_by_name(request, name) for name in self.inputs}
            return {name: tensor.as_numpy() for name, tensor in tensors.items() if tensor is not None}
        except Exception as error:  # It is the answer to this request.
            return error

    def work(self) -> None:
        """Answer what waits, batch by batch."""
        from neuronkit.serving.triton.backend import Request

        def take(wait: bool) -> Any:
            taken = self.waiting.take(wait)
            if taken is None:
                return None
            batch = [entry for entry in taken if not self.refuse_if_over(entry)]
            self.metrics.queue_seconds.increment(sum(time.monotonic() - entry.since for entry in batch))
            return [Request(e.read, e.request.requested_output_names(), e.request) for e in batch]

        def reply(requests: Any, answers: Any) -> None:
            self.metrics.update(answers)
            for request, answer in zip(requests, answers):
                send(request.source, respond(answer))

        self.model.serve(take, reply)

    def sweep(self) -> None:
        """Refuse requests that were cancelled or waited too long, also while a batch is computed."""
        told = 0
        while True:
            time.sleep(_SWEEP_S)
            self.remove_those_over()
            if told != len(self.waiting):
                told = len(self.waiting)
                self.metrics.waiting.set(told)

    def remove_those_over(self) -> None:
        """Refuse the requests in the queue for which nobody waits any longer."""
        for entry in self.waiting.remove(lambda entry: entry.is_late or entry.request.is_cancelled()):
            self.refuse_if_over(entry)

    def refuse_if_over(self, entry: Any) -> bool:
        """Refuse a request that was cancelled or has waited too long; False if it is neither."""
        if entry.request.is_cancelled():
            self.refuse(entry.request, "the request was cancelled", pb_utils.TritonError.CANCELLED)
        elif entry.is_late:
            self.refuse(entry.request, "timeout: the request waited too long", pb_utils.TritonError.UNAVAILABLE)
        else:
            return False
        return True

    def refuse(self, request: Any, why: str, code: Any) -> None:
        """Answer a request without computing it."""
        self.metrics.refused.increment(1)
        send(request, pb_utils.InferenceResponse(error=pb_utils.TritonError(why, code)))

    def finalize(self) -> None:
        """Answer what has come, before another version takes over."""
        self.waiting.close()
        self.worker.join()


def respond(answer: Any) -> Any:
    """Make Triton's response of a request's outputs, or of its error."""
    from neuronkit.errors import NeuronKitError

    if not isinstance(answer, Exception):
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in answer.items()])
    code = pb_utils.TritonError.INVALID_ARG if isinstance(answer, NeuronKitError) else pb_utils.TritonError.INTERNAL
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(f"{type(answer).__name__}: {answer}", code))


def send(request: Any, response: Any) -> None:
    """Give a request its only response."""
    request.get_response_sender().send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def end_with_error(function: Callable[..., None], *arguments: Any) -> None:
    """Run a thread's function; where it fails, end the process, which could not answer any longer."""
    try:
        function(*arguments)
    except BaseException:
        _log.exception("the model's process ends")
        os._exit(1)


def end_with_parent(parent: int, interval_s: float = 1.0) -> None:
    """End this process when the server's process has ended, for whatever reason."""
    while os.getppid() == parent:
        # Metrics of a server that has gone hold the interpreter for good: this timer does not need it.
        faulthandler.dump_traceback_later(_FROZEN_S, exit=True)
        time.sleep(interval_s)
    os._exit(1)


class Metrics:
    """What neuronkit counts, besides Triton's own metrics on the same page."""

    def __init__(self, model: Any, args: dict[str, str]) -> None:
        from neuronkit.serving.triton.metering import DESCRIPTIONS

        self.model = model
        self.labels = {
            "model": args["model_name"],
            "version": args["model_version"],
            "instance": args["model_instance_name"],
        }
        # Metrics live as long as their families.
        self.families: list[Any] = []
        self.errors = self.metric("request_errors_total", "Requests answered with an error")
        self.refused = self.metric("refused_requests_total", "Requests not computed: no room, too late, or cancelled")
        self.queue_seconds = self.metric("queue_seconds_total", "Seconds that computed requests had waited")
        self.waiting = self.metric("waiting_requests", "Requests that wait", "GAUGE")
        counters = {name: self.family(f"{name}_total", text) for name, text in DESCRIPTIONS.items()}
        self.counters = {
            (graph, name): family.Metric(labels={**self.labels, "graph": graph})
            for graph in model.models
            for name, family in counters.items()
        }

    def family(self, name: str, description: str, kind: str = "COUNTER") -> Any:
        """One metric for each set of labels."""
        families = pb_utils.MetricFamily
        self.families.append(families(f"neuronkit_{name}", description, getattr(families, kind)))
        return self.families[-1]

    def metric(self, name: str, description: str, kind: str = "COUNTER") -> Any:
        """A metric of this instance as a whole."""
        return self.family(name, description, kind).Metric(labels=self.labels)

    def update(self, answers: list[Any]) -> None:
        """Add what was computed since the last call."""
        self.errors.increment(sum(isinstance(answer, Exception) for answer in answers))
        for graph, model in self.model.models.items():
            for name, amount in model.take().items():
                self.counters[graph, name].increment(amount)

"""Requests that come together, and what serves them: each its own answer, or its own error."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from neuronkit.errors import NeuronKitError
from neuronkit.ocr.pipeline.batches import run_isolated
from neuronkit.serving.artifact import ServedArtifact
from neuronkit.serving.triton.config import Signature
from neuronkit.serving.triton.metering import Metered
from neuronkit.static.shapes.fixed import FixedShape

Arrays = Mapping[str, NDArray[Any]]
Answer = Arrays | Exception

# Called with whether to wait.
Take = Callable[[bool], "Sequence[Request] | None"]
Reply = Callable[["Sequence[Request]", Sequence[Answer]], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """One request of a batch.

    Attributes:
        read: Gives its inputs by name, (rows, ...) each; may raise.
        outputs: Names of the requested outputs.
        source: The server's own, to reply to.
    """

    read: Callable[[], Arrays]
    outputs: Collection[str]
    source: Any = None


class Served(ABC):
    """A kind of model as a server runs it. A further kind is a subclass whose name is put into `kinds.KINDS`.

    Args:
        models: The compiled models in it, by name.
        max_pixels: Larger images are refused.
    """

    def __init__(self, models: Mapping[str, Metered], max_pixels: int) -> None:
        self.models = models
        self._max_pixels = max_pixels

    @classmethod
    @abstractmethod
    def fits(cls, artifacts: Mapping[str, ServedArtifact]) -> bool:
        """Whether these artifacts can be served so."""

    @classmethod
    @abstractmethod
    def signature(cls, artifacts: Mapping[str, ServedArtifact]) -> Signature:
        """What clients see of them.

        Raises:
            ArtifactError: If they cannot be served after all.
        """

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests that came together; those that are good share batches.

        Returns:
            For each request its requested outputs, or the error.
        """
        prepared = [attempt(self._read, request) for request in requests]
        results = iter(self._run_good([item for item in prepared if not isinstance(item, Exception)]))
        answers: list[Answer] = []
        for request, item in zip(requests, prepared):
            result = item if isinstance(item, Exception) else next(results)
            if not isinstance(result, Exception):
                result = attempt(self._finish, result, request.outputs)
            answers.append(result)
        return answers

    def serve(self, take: Take, reply: Reply) -> None:
        """Answer requests until there are no more.

        Args:
            take: Called with whether to wait, gives requests that came together, none where none are there yet; None at
                the end.
            reply: Called with requests and their answers, as soon as these are known.
        """
        while (batch := take(True)) is not None:
            reply(batch, self.answer(batch))

    def warm_up(self) -> None:
        """Run everything once, on valid data, and forget that it was counted.

        Raises:
            Exception: Whatever a request would get.
        """
        for model in self.models.values():
            fixed = FixedShape(model)
            fixed(*(spec.example()[:1] for spec in fixed.data_specs))
        (answer,) = self.answer([self._example()])
        if isinstance(answer, Exception):
            raise answer
        for model in self.models.values():
            model.take()

    def _run_good(self, items: list[Any]) -> list[Any]:
        """Run all together, or, where that fails, each alone, to find whose fault it is."""
        results = run_isolated(self._run, items)
        for result in results:
            if isinstance(result, Exception) and not isinstance(result, NeuronKitError):
                _log.error("a request failed", exc_info=result)
        return results

    def _read(self, request: Request) -> Any:
        return self._prepare(request.read())

    @abstractmethod
    def _prepare(self, inputs: Arrays) -> Any:
        """Check a request's inputs, and make of them what `_run` takes."""

    @abstractmethod
    def _run(self, items: list[Any]) -> list[Any]:
        """Compute what belongs to each of several prepared requests."""

    @abstractmethod
    def _finish(self, result: Any, outputs: Collection[str]) -> Arrays:
        """Make the requested outputs from the result of `_run` for one request."""

    @abstractmethod
    def _example(self) -> Request:
        """A valid request for everything."""


class Flow:
    """Requests under way, whose rows share batches with those of requests that come later.

    Args:
        take: As for `Served.serve`.
        reply: As for `Served.serve`.
        prepare: Gives a request's rows, and what belongs to them; may raise.

    Attributes:
        held: Requests whose rows are under way, by the number of their group, each with what belongs to it.
        ended: Whether no more requests come.
    """

    def __init__(self, take: Take, reply: Reply, prepare: Callable[[Request], tuple[Any, Any]]) -> None:
        self.held: dict[int, tuple[Request, Any]] = {}
        self.ended = False
        self._take, self._reply, self._prepare = take, reply, prepare
        self._coming: deque[Request] = deque()
        self._answered: list[tuple[Request, Answer]] = []

    def groups(self) -> Iterator[Any]:
        """The rows of each request, as `RowStream.finished` takes them."""
        count = 0
        while True:
            while self._coming:
                request = self._coming.popleft()
                prepared = attempt(self._prepare, request)
                if isinstance(prepared, Exception):
                    self.done(request, prepared)
                    continue
                rows, rest = prepared
                self.held[count] = (request, rest)
                count += 1
                yield rows
            self.flush()
            batch = self._take(not self.held)
            if batch is None:
                self.ended = True
                return
            self._coming.extend(batch)
            if not batch:
                yield None

    def done(self, request: Request, answer: Answer) -> None:
        """Note a request's answer, for the next `flush`."""
        self._answered.append((request, answer))

    def flush(self) -> None:
        """Reply to the requests that are done."""
        if self._answered:
            requests, answers = zip(*self._answered)
            self._answered = []
            self._reply(requests, answers)


def attempt(function: Callable[..., Any], *arguments: Any) -> Any:
    """A function's result, or its exception: an error belongs to one request alone."""
    try:
        return function(*arguments)
    except NeuronKitError as error:
        return error
    except Exception as error:
        _log.exception("a request failed")
        return error

"""The deployment that serves HTTP: checks requests, sends images on, and sends them again when a replica dies."""

from __future__ import annotations

import asyncio
import json
import logging
from email import message_from_bytes
from email.message import Message
from typing import Any

from ray.exceptions import RayActorError, TaskCancelledError
from ray.serve.exceptions import BackPressureError
from starlette.requests import ClientDisconnect, Request  # type: ignore[import-not-found, unused-ignore]
from starlette.responses import Response  # type: ignore[import-not-found, unused-ignore]

from neuronkit.errors import ImageError
from neuronkit.serving.ray.answers import TYPES, error_json, negotiate
from neuronkit.serving.ray.metrics import IngressMetrics
from neuronkit.serving.ray.options import AppOptions

_LOGGER = logging.getLogger("ray.serve")
# The default content types of curl and urllib stand for bytes as well.
_BYTES = ("application/octet-stream", "application/x-www-form-urlencoded")
_FORM = "multipart/form-data"
# So much of a body that is too long is still received, to be able to answer.
_DRAINED = 64 << 20


class Ingress:
    """Takes images by POST, or by its handle."""

    def __init__(self, reader: Any, options: AppOptions) -> None:
        self._reader, self._options = reader, options
        self._metrics = IngressMetrics()
        self._body_bytes = 0

    async def __call__(self, request: Any) -> Any:
        """Read an image.

        Args:
            request: An HTTP request whose body is an image file; or, through a handle, the bytes themselves.

        Returns:
            An HTTP response; or, through a handle, the page as JSON text.

        Raises:
            ImageError: Through a handle, if the image cannot be read.
            RuntimeError: Through a handle, if it was not read in time, or the models failed.
        """
        if not isinstance(request, Request):
            return _page_or_error(*await self._answer(request, "json"))
        kind = negotiate(", ".join(request.headers.getlist("accept")))
        status, body, headers = await self._respond(request, kind)
        self._metrics.answer(status)
        # An error is JSON, whatever the request accepts.
        return Response(body, status, headers, media_type=kind if status == 200 else "application/json")

    async def _respond(self, request: Any, accepted: str | None) -> tuple[int, str, dict[str, str]]:
        try:
            # Read even where it will be refused: a client that is still sending would see a reset, not the answer.
            body = await asyncio.wait_for(self._body(request), self._options.body_timeout_s)
        except asyncio.TimeoutError:
            return 408, error_json(f"the request's body did not arrive within {self._options.body_timeout_s:g} s"), {}
        # Nobody reads the answer; an error would be logged with its traceback, for every client that hangs up.
        except (ClientDisconnect, TaskCancelledError):
            return 400, error_json("the request ended before its body did"), {}
        except _TooManyBytesError:
            return (
                503,
                error_json("the bodies of other requests fill the memory; try again later"),
                {"Retry-After": "1"},
            )
        if request.method != "POST":
            return 405, error_json(f"{request.method} is not taken; POST the bytes of an image file"), {"Allow": "POST"}
        content_type = request.headers.get("content-type", "")
        kind = content_type.partition(";")[0].strip().lower()
        if kind and kind not in (*_BYTES, _FORM) and not kind.startswith("image/"):
            return 415, error_json(f"content-type {kind!r} is no image; POST the bytes of an image file"), {}
        if accepted is None:
            return 406, error_json(f"accept={request.headers['accept']!r}; take one of {', '.join(TYPES)}"), {}
        if body is None:
            return 413, error_json(f"the body is larger than {self._options.max_request_bytes} bytes"), {}
        image = _file_of_form(content_type, body) if kind == _FORM else body
        if image is None:
            return 400, error_json("the form does not hold exactly one file; send one, as in curl -F image=@FILE"), {}
        status, text = await self._answer(image, TYPES[accepted])
        return status, text, {"Retry-After": "1"} if status == 503 else {}

    async def _body(self, request: Any) -> bytes | None:
        """The body, or None if it is too long; what is too long is not kept."""
        limit, total, chunks, held = self._options.max_request_bytes, 0, [], 0
        try:
            async for chunk in request.stream():
                total += len(chunk)
                if total <= limit:
                    chunks.append(chunk)
                    held += len(chunk)
                    self._body_bytes += len(chunk)
                    if self._body_bytes > self._options.max_body_bytes:
                        raise _TooManyBytesError
                elif total > limit + _DRAINED:
                    return None
                else:
                    chunks.clear()
            return b"".join(chunks) if total <= limit else None
        finally:
            self._body_bytes -= held

    async def _answer(self, image: Any, form: str) -> tuple[int, str]:
        """HTTP status and page, or error as JSON; never raises for what can happen to a single request."""
        if not isinstance(image, (bytes, bytearray, memoryview)):
            return 400, error_json(f"got a {type(image).__name__}; give the bytes of an image file")
        if len(image) > self._options.max_request_bytes:
            return 413, error_json(f"the image is larger than {self._options.max_request_bytes} bytes")
        try:
            return await asyncio.wait_for(self._read(bytes(image), form), self._options.timeout_s)
        except asyncio.TimeoutError:
            return 504, error_json(f"the image was not read within {self._options.timeout_s:g} s")
        except BackPressureError:
            return 503, error_json("too many requests are waiting; try again later")
        except RayActorError:
            return 503, error_json(f"{self._options.attempts} replicas died with this image; it may be the reason")
        except Exception as error:  # Ray has many more, and each of them is the answer to one request only.
            _LOGGER.exception("an image was not read")
            return 500, error_json(f"the image was not read: {type(error).__name__}: {error}")

    async def _read(self, image: bytes, form: str) -> tuple[int, str]:
        """Read the image, with another replica when one dies: reading changes nothing, so it can be repeated."""
        for attempt in range(self._options.attempts):
            response = self._reader.remote(image, form)
            try:
                answer: tuple[int, str] = await response
                return answer
            except asyncio.CancelledError:
                response.cancel()
                raise
            except RayActorError:
                if attempt + 1 == self._options.attempts:
                    raise
                self._metrics.retry()
        raise AssertionError("attempts is at least 1")


class _TooManyBytesError(Exception):
    """The bodies that are being received are too much together."""


def _file_of_form(content_type: str, body: bytes) -> bytes | None:
    """The only file of a form (multipart/form-data, RFC 7578); None where there is no or more than one."""
    header = Message()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if not boundary:
        return None
    _, *parts = (b"\r\n" + body).split(b"\r\n--" + boundary.encode("latin-1", "replace"))
    files = []
    # What follows the last boundary is "--".
    for part in parts[:-1]:
        head, _, content = part.lstrip(b"\r\n").partition(b"\r\n\r\n")
        if message_from_bytes(head).get_filename() is not None:
            files.append(content)
    return files[0] if len(files) == 1 else None


def _page_or_error(status: int, text: str) -> str:
    if status == 200:
        return text
    message = json.loads(text)["error"]
    raise ImageError(message) if status in (400, 413) else RuntimeError(message)

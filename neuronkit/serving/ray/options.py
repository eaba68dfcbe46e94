"""What can be set on an application, checked where it is built."""

from __future__ import annotations

from dataclasses import dataclass

from neuronkit import checks
from neuronkit.errors import OptionError

FAILURES_OF_A_BROKEN_MODEL = 3
"""So many images in a row on which the models themselves fail mean a lost device, not bad images."""


@dataclass(frozen=True)
class AppOptions:
    """Settings of `build_app`, which describes them."""

    batch_size: int
    batch_wait_s: float
    min_replicas: int
    max_replicas: int
    num_cpus: float
    neuron_cores: int
    timeout_s: float
    body_timeout_s: float
    max_request_bytes: int
    max_pixels: int
    max_queued_requests: int
    attempts: int
    drain_s: float
    health_check_s: float

    def __post_init__(self) -> None:
        for name, low, high in (
            ("batch_size", 1, 1 << 16),
            ("min_replicas", 1, 1 << 16),
            ("max_replicas", 1, 1 << 16),
            ("neuron_cores", 0, 1 << 10),
            ("max_request_bytes", 1, 1 << 40),
            ("max_pixels", 1, 1 << 40),
            ("max_queued_requests", 1, 1 << 30),
            ("attempts", 1, 100),
        ):
            checks.set_field(self, name, checks.integer, low, high)
        for name, most, positive in (
            ("batch_wait_s", 60.0, False),
            ("num_cpus", 1024.0, False),
            ("timeout_s", 86400.0, True),
            ("body_timeout_s", 86400.0, True),
            ("drain_s", 86400.0, False),
            ("health_check_s", 3600.0, True),
        ):
            checks.set_field(self, name, checks.number, 0.0, most, open_low=positive)
        if self.max_replicas < self.min_replicas:
            raise OptionError(
                f"max_replicas={self.max_replicas} is less than min_replicas={self.min_replicas}; give at least that"
            )

    @property
    def max_ongoing_requests(self) -> int:
        """Requests in a replica: one batch at work, and two that fill up."""
        return 3 * self.batch_size

    @property
    def max_body_bytes(self) -> int:
        """Bytes of bodies that the ingress holds at once: those of the requests that may wait, and as much again."""
        return 2 * self.max_queued_requests * self.max_request_bytes

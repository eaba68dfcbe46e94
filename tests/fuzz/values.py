"""Values that callers give by mistake or on purpose, and wrong neighbours of right ones."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn


class Rude:
    """Nothing about it can be written down."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class RudePath:
    def __fspath__(self) -> str:
        raise RuntimeError("no path")


class OwnError(Exception):
    """Raised by a caller's own iterator: it passes through as it is."""


class Endless:
    """An iterator without an end."""

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        return 1


class Halting:
    """An iterator that fails on its way."""

    def __iter__(self) -> Iterator[int]:
        yield 1
        raise OwnError("the source failed")


class Subclass(torch.Tensor):
    """A tensor that overrides functions, as torchvision's images do."""


def nested(depth: int = 100_000) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def circular() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


# Made anew for each call: some are used up.
ANYTHING: tuple[Callable[[], Any], ...] = (
    *(lambda v=v: v for v in (None, True, False, 0, 1, -1, 2, 3, 7, 2**31, 2**63, -(2**63), 10**5000, -(10**5000))),
    *(lambda v=v: v for v in (0.0, -0.0, 0.5, 1e-320, 1e308, float("nan"), float("inf"), -float("inf"), 1j)),
    *(
        lambda v=v: v
        for v in ("", " ", "\0", "\n", "\ud800", "\x1b[31mred", "a" * 300, "é", "../x", "*", "[", "0", "1.5")
    ),
    *(lambda v=v: v for v in (b"", b"abc", (), (1,), (1, 2), (0, 0), (-1, 5), (1, 2, 3, 4), ("a", "b"), (None, None))),
    *(np.float32(0.5).copy, np.int64(3).copy, np.bool_(True).copy, np.str_("a").copy, np.float64("nan").copy),
    *(lambda: np.zeros(0), lambda: np.zeros((2, 3)), lambda: np.zeros((4, 4, 3), np.uint8), lambda: np.array(3)),
    *(lambda: np.array(["a"]), lambda: np.array([None]), lambda: np.zeros((2, 2), "f2"), lambda: np.zeros(2, "c8")),
    *(lambda: torch.zeros(0), lambda: torch.zeros(2, 3), lambda: torch.tensor(2), lambda: torch.zeros(1, 3, 32, 64)),
    *(lambda: torch.zeros(2, device="meta"), lambda: torch.zeros(2, 2, dtype=torch.complex64).conj()),
    *(
        list,
        dict,
        set,
        object,
        lambda: [1, 2],
        lambda: [None],
        lambda: {"a": 1},
        lambda: {1: 2},
        lambda: {None: Rude()},
    ),
    *(Rude, RudePath, Endless, Halting, nested, circular, lambda: [Rude()], lambda: iter([1, 2])),
    *(lambda: int, lambda: Rude, lambda: nn.ReLU, lambda: nn.ReLU(), lambda: len, lambda: os, lambda: lambda *a: None),
    *(
        lambda: Fraction(1, 3),
        lambda: range(10**9),
        lambda: "x" * 2_000_000,
        lambda: io.BytesIO(b"x"),
        lambda: Path("x"),
    ),
    *(
        lambda: bytearray(3),
        lambda: memoryview(b"abc"),
        lambda: torch.float32,
        lambda: torch.Size([1]),
        lambda: slice(1),
    ),
    *(lambda: NotImplemented, lambda: ..., lambda: NotImplementedError("x"), lambda: type, lambda: frozenset({1})),
)


def anything(rng: random.Random) -> Any:
    """A value of any kind."""
    return rng.choice(ANYTHING)()


def neighbours(value: Any, rng: random.Random, folder: Path) -> Any:
    """A wrong value that resembles a right one; any value at all where nothing resembles it."""
    for kinds, make in _NEIGHBOURS:
        if isinstance(value, kinds):
            choices = make(value, rng, folder)
            return rng.choice(choices)() if choices else anything(rng)
    return anything(rng)


def _of_tensor(x: torch.Tensor, rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    real = x.is_floating_point()
    made: list[Callable[[], Any]] = [
        *(x.double, x.half, x.long, x.bool, x.clone, lambda: x.to(torch.bfloat16), lambda: x.to(torch.complex64)),
        *(
            lambda: (x.abs() % 255).byte(),
            lambda: x.to(torch.complex64).conj(),
            lambda: x.to("meta"),
            x.numpy,
            x.tolist,
        ),
        *(lambda: x[:0], lambda: x[None], lambda: x[0] if x.dim() else x, lambda: x.flatten(), lambda: x.unsqueeze(-1)),
        *(lambda: torch.cat([x, x]), lambda: x.repeat(*[1] * (x.dim() - 1), 2) if x.dim() else x, lambda: [x, x]),
        *(lambda: x.transpose(-1, -2) if x.dim() > 1 else x, lambda: x.permute(*reversed(range(x.dim())))),
        *(lambda: x[..., :-1] if x.dim() else x, lambda: x[..., :0] if x.dim() else x, lambda: -x if real else x - 1),
        *(x.to_sparse, lambda: x.as_subclass(Subclass), lambda: (x,), lambda: torch.empty(0), lambda: torch.zeros(())),
        *(lambda: x.new_zeros(1).expand(x.shape), lambda: x.new_zeros(1).expand(2**40, *x.shape[1:])),
    ]
    if real:
        made += [
            *(lambda: x * float("nan"), lambda: x + float("inf"), lambda: x * 1e38, lambda: x.clone().requires_grad_()),
            *(lambda: torch.nn.Parameter(x.clone()), lambda: x.clone().requires_grad_() * 2),
            lambda: torch.quantize_per_tensor(x.float(), 0.1, 0, torch.quint8),
        ]
    return made


def _of_array(x: Any, rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    return [
        *(
            x.copy,
            x.tolist,
            x.flatten,
            lambda: x[:0],
            lambda: x[None],
            lambda: x[..., None],
            lambda: x.T,
            lambda: x[..., ::2],
        ),
        *(lambda kind=kind: x.astype(kind) for kind in ("?", "u1", "i8", "f2", "f8", "c8", "O", "U3")),
        *(
            lambda: x * np.nan,
            lambda: x - 1,
            lambda: np.broadcast_to(x.reshape(-1)[:1], (2**20, 2**20)),
            lambda: x[..., :-1],
        ),
        *(
            lambda: torch.from_numpy(x.copy()),
            lambda: [x],
            lambda: np.ma.masked_array(x),
            lambda: np.asmatrix(x.reshape(1, -1)),
        ),
        lambda: np.array([1], [("a", "i4")]),
    ]


def _of_int(x: int, rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    values = (x + 1, x - 1, -x, 0, float(x), str(x), x * 7, 2**31 - 1, 2**31, 2**63, 10**5000, x + 0.5, (x,), [x], None)
    return [
        *(lambda v=v: v for v in values),
        *(lambda: np.int64(x), lambda: np.array(x), lambda: torch.tensor(x), lambda: Fraction(x), lambda: True),
    ]


def _of_float(x: float, rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    values = (x + 1, -x, 0, str(x), float("nan"), float("inf"), -float("inf"), 1e308, 1e-320, (x,), None, True, 10**400)
    return [*(lambda v=v: v for v in values), lambda: np.float32(x), lambda: np.array(x), lambda: torch.tensor(x)]


def _of_text(x: str, rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    values = (x.upper(), x[:-1], x + "s", x + " ", "", x + "\0", "\ud800", x * 1000, [x], (x,), None, 1, True)
    return [*(lambda v=v: v for v in values), x.encode, lambda: np.str_(x), lambda: Path(x.replace("\0", "") or ".")]


def _of_path(x: Path, rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    names = (
        "missing",
        "folder",
        "pipe",
        "device",
        "loop",
        "empty",
        "text",
        "zip",
        "secret",
        "keep",
        "a" * 300,
        "no/such/x",
    )
    values: tuple[Any, ...] = ("", "\0", "\ud800", "x" * 5000, None, 3, b"x", [], x, str(x))
    return [
        *(lambda name=name: folder / name for name in names),
        *(lambda name=name: str(folder / name) for name in names),
        *(lambda v=v: v for v in values),
        *(RudePath, lambda: os.fsencode(x), lambda: x / "below", lambda: io.BytesIO(b"x"), lambda: str(x) + "\0"),
    ]


def _of_sequence(x: Any, rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    kind = type(x) if type(x) in (list, tuple) else tuple
    made: list[Callable[[], Any]] = [
        *(
            lambda: kind(reversed(x)),
            lambda: kind(x[:-1]),
            lambda: kind([*x, *x]),
            lambda: kind(),
            lambda: kind([None]),
        ),
        *(
            lambda: [*x],
            lambda: tuple(x),
            lambda: iter(x),
            lambda: set(map(str, x)),
            lambda: {i: v for i, v in enumerate(x)},
        ),
        *(
            lambda: kind([x]),
            lambda: (v for v in x),
            lambda: None,
            Endless,
            Halting,
            nested,
            lambda: kind([anything(rng)]),
        ),
    ]
    if len(x):
        place = rng.randrange(len(x))
        changed = lambda: kind([*x[:place], neighbours(x[place], rng, folder), *x[place + 1 :]])  # noqa: E731
        made += [lambda: x[0], lambda: kind([*x[:place], anything(rng), *x[place + 1 :]])] + [changed] * 8
    return made


def _of_mapping(x: dict[Any, Any], rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    made: list[Callable[[], Any]] = [
        dict,
        lambda: list(x.items()),
        lambda: {1: 2},
        lambda: {**x, "other": 1},
        lambda: {None: 1},
    ]
    if x:
        key = rng.choice(list(x))
        made += [
            lambda: {k: v for k, v in x.items() if k != key},
            *[lambda: {**x, key: neighbours(x[key], rng, folder)}] * 4,
            lambda: {**x, key: anything(rng)},
        ]
    return made


def _of_module(x: nn.Module, rng: random.Random, folder: Path) -> list[Callable[[], Any]]:
    return [
        *(
            lambda: type(x),
            lambda: x.state_dict(),
            lambda: nn.Sequential(x),
            lambda: nn.DataParallel(x),
            lambda: x.forward,
        ),
        *(lambda: nn.Linear(3, 2), lambda: nn.Identity(), lambda: nn.BatchNorm2d(3).train(), lambda: nn.Module()),
        *(
            lambda: "model.pt",
            lambda: [x],
            lambda: nn.Embedding(5, 2),
            lambda: nn.LSTM(3, 2),
            lambda: nn.Conv1d(3, 2, 1),
        ),
    ]


_NEIGHBOURS: tuple[tuple[Any, Callable[..., list[Callable[[], Any]]]], ...] = (
    (torch.Tensor, _of_tensor),
    (np.ndarray, _of_array),
    (bool, lambda x, rng, folder: [lambda: int(x), lambda: str(x), lambda: np.bool_(x), lambda: None, lambda: [x]]),
    (int, _of_int),
    (float, _of_float),
    (str, _of_text),
    (Path, _of_path),
    ((list, tuple), _of_sequence),
    (dict, _of_mapping),
    (nn.Module, _of_module),
)

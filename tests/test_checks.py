"""checks: every message has its three parts, and writing it never fails."""

import os
import socket
import subprocess
import sys
import warnings
from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuronkit import StaticPARSeq, checks
from neuronkit.checks import shown
from neuronkit.errors import ImageError, NeuronKitError, OptionError, SpecError
from neuronkit.models import PARSeq
from neuronkit.tensors import module, tensor
from tests.fuzz.values import Endless, Rude, RudePath, circular


class RudeClass:
    @property
    def __class__(self):  # type: ignore[override]
        raise RuntimeError("no")


class RudeFloat(Fraction):
    def __float__(self) -> float:
        raise ValueError("no")


class Huge:
    def __repr__(self) -> str:
        return "\x1b[31m" + "x" * 5_000_000


@dataclass
class Record:
    items: Any
    other: Any = None


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value, {"k": value}] if depth < 20 else [value]
    return value


HOSTILE = [
    *(None, True, "", "5", b"5", 1j, 2.5, float("nan"), -float("inf"), -(10**5000), 10**5000, Fraction(10**400)),
    *(RudeFloat(1), Rude(), RudeClass(), RudePath(), Endless(), Huge(), [Rude()] * 9, {Rude(): Rude()}, Record(Rude())),
    *(nested(100_000), nested(15), circular(), "\x1b[31mred\n\r\0\u202e\ud800", "x" * 5_000_000, [0] * 1_000_000),
    *(object(), int, Rude, len, np.zeros((1000, 1000)), np.bool_(True), np.array(3), torch.zeros(1000, 1000)),
    *(torch.tensor(3), torch.nn.Linear(3, 3), torch.zeros(2, device="meta"), OrderedDict(a=1), (1,), set(), range(9)),
]
CHECKS = [
    lambda value, error: checks.number("x", value, 0, 1e9, error=error),
    lambda value, error: checks.integer("x", value, 0, 9, error=error),
    lambda value, error: checks.flag("x", value, error=error),
    lambda value, error: checks.integers("x", value, 2, 0, error=error),
    lambda value, error: checks.numbers("x", value, 3, 0, error=error),
    lambda value, error: checks.text("x", value, error=error),
    lambda value, error: checks.choice("x", value, ("inf1", "inf2", 1, None), error=error),
    lambda value, error: checks.path("x", value, error=error),
    lambda value, error: checks.input_file("x", value, error=error),
    lambda value, error: checks.callable_("x", value, error=error),
    lambda value, error: tensor("x", value, shape=(None, 3, 8, 8), dtype="float32", error=error),
    lambda value, error: module("x", value, error=error),
]


@pytest.mark.parametrize("check", CHECKS, ids=range(12))
def test_hostile_values_are_refused_in_one_printable_line_of_three_parts(check: Any) -> None:
    refused = 0
    for value in HOSTILE:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                check(value, ImageError)
            except ImageError as error:
                message = str(error)
                assert message.isprintable()
                assert len(message) < 700
                assert message.startswith(("got x", "x: got "))
                assert "; expected " in message
                assert message.count("; ") >= 2
                refused += 1
    assert refused > len(HOSTILE) // 2


@pytest.mark.parametrize("index", range(len(HOSTILE)))
def test_shown_gives_one_short_printable_line(index: int) -> None:
    value = HOSTILE[index]
    line = shown(value)
    assert line.isprintable()
    assert 0 < len(line) <= 200
    assert len(shown(value, 20)) <= 20


@given(st.recursive(st.none() | st.integers() | st.text() | st.floats(), st.lists, max_leaves=5), st.integers(4, 60))
@settings(max_examples=100, deadline=None)
def test_shown_is_the_repr_or_its_beginning(value: Any, limit: int) -> None:
    line, written = shown(value, limit), repr(value)
    assert line.isprintable()
    assert len(line) <= limit
    if len(written) <= limit and written.isprintable() and "[[[[" not in written:
        assert line == written or "..." in line


@pytest.mark.parametrize(
    ("value", "line"),
    ids=range(13),
    argvalues=[
        ([1, (2,), {3: "a"}], "[1, (2,), {3: 'a'}]"),
        (list(range(9)), "[0, 1, 2, 3, 4, 5, ...]"),
        (10**5000, "a whole number of 16610 bits"),
        ("a\n\x1b[31m", "'a\\n\\x1b[31m'"),
        (Path("a/b"), "'a/b'"),
        (OrderedDict(a=1), "OrderedDict{'a': 1}"),
        (Record([1], "b"), "Record(items=[1], other='b')"),
        (Rude(), "<Rude whose repr raises RuntimeError>"),
        ([Rude(), 1], "[<Rude whose repr raises RuntimeError>, 1]"),
        (int, "the class int"),
        (np.zeros((2, 3), np.uint8), "an ndarray (2, 3) uint8"),
        (torch.zeros(2, 3), "a Tensor (2, 3) float32"),
        (torch.nn.Linear(1, 1), "a Linear module"),
    ],
)
def test_shown_in_full(value: Any, line: str) -> None:
    assert shown(value) == line


def test_numbers_of_numpy_count_and_come_back_as_pythons() -> None:
    assert type(checks.number("x", np.float32(0.5), 0, 1)) is float
    assert type(checks.number("x", np.int8(1), 0, 1)) is float
    assert type(checks.integer("x", np.uint8(3), 0)) is int
    assert checks.flag("x", np.bool_(True)) is True
    assert checks.integers("x", np.array([1, 2]), 2) == (1, 2)
    assert type(checks.text("x", np.str_("a"))) is str
    assert checks.choice("x", np.str_("a"), ("a", "b")) == "a"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: checks.number("x", True, 0), "got x=True; expected a finite number of at least 0; write the number"),
        (
            lambda: checks.number("x", 0, 0, 1, open_low=True),
            "got x=0; expected a finite number above 0 and at most 1; ",
        ),
        (lambda: checks.number("x", "1"), "got x='1'; expected a finite number; convert it with float()"),
        (lambda: checks.integer("x", 2.0, 1), "got x=2.0; expected a whole number of at least 1; write 2"),
        (lambda: checks.integer("x", 9, 1, 4), "got x=9; expected a whole number from 1 to 4; give a number within"),
        (lambda: checks.integer("x", np.array([2])), "of an array its .item()"),
        (lambda: checks.integers("x", 3, 2), "got x=3; expected 2 whole numbers; give a tuple, (…, …)"),
        (lambda: checks.integers("x", (1, "2"), 2), "got x[1]='2'; expected a whole number; convert it with int()"),
        (lambda: checks.flag("x", 1), "got x=1; expected True or False; give one of them"),
        (lambda: checks.text("x", b"a"), "decode it, as in value.decode()"),
        (lambda: checks.text("x", ""), "got x=''; expected text"),
        (lambda: checks.choice("x", "Inf 2", ("inf1", "inf2")), "expected one of 'inf1', 'inf2'; did you mean 'inf2'?"),
        (lambda: checks.label("x", "a\x1b[0m"), "printable characters; give a shorter name, without line ends"),
        (lambda: checks.label("x", "a" * 201), "expected at most 200 printable characters; give a shorter name"),
        (lambda: checks.choice("x", True, (1, 2)), "got x=True; expected one of 1, 2; give one of them"),
        (lambda: checks.callable_("x", Path), "make an instance, Path(...)"),
        (lambda: checks.path("x", None), "got x=None; expected a path; give a str or a pathlib.Path"),
        (lambda: checks.path("x", b"a"), "convert it with os.fsdecode"),
        (lambda: checks.path("x", "a\0b"), "with a NUL character"),
        (lambda: checks.path("x", "\ud800"), "cannot hold"),
        (lambda: checks.path("x", "a" * 256), "a path of 256 bytes; expected at most 4095, and 255 for each name"),
        (lambda: checks.path("x", "a/" * 3000), "give a shorter path"),
        (lambda: checks.path("x", ""), "give '.' for the current folder"),
        (lambda: checks.path("x", sys.stderr), "give the path that holds it"),
    ],
)
def test_messages_name_the_fix(call: Any, message: str) -> None:
    with pytest.raises(OptionError) as caught:
        call()
    assert message in str(caught.value)


def test_input_file_follows_links_and_refuses_what_is_no_regular_file(tmp_path: Path) -> None:
    file = tmp_path / "weights.pt"
    file.write_bytes(b"x")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    os.chdir(tmp_path)  # A socket's path must be short.
    server.bind("socket")
    server.close()
    assert checks.input_file("x", str(tmp_path / "link")) == tmp_path / "link"
    for name, message in {
        ".": "a folder; expected a regular file; give the path of a file in it",
        "pipe": "a named pipe",
        "socket": "a socket",
        "/dev/null": "a device",
        "loop": "cannot be read",
        "weight.pt": "did you mean",
        "nowhere/file": "check the folder",
        "weights.pt/file": "cannot be read",
    }.items():
        with pytest.raises(ImageError, match=message):
            checks.input_file("x", tmp_path / name, error=ImageError)


def test_a_path_that_the_locale_cannot_write_is_its_bytes_and_a_broken_one_is_refused() -> None:
    code = (
        "import os; from neuronkit import checks; print(os.fsencode(checks.path('x', '\\u0436')));"
        "checks.path('x', '\\ud800')"
    )
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == repr("ж".encode())
    assert "OptionError: got x=" in run.stderr
    assert "encoding, ascii, cannot hold" in run.stderr


class Logged(torch.Tensor):
    """A subclass that overrides functions, as torchvision's images do."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        return super().__torch_function__(func, types, args, kwargs or {})


IMAGES = torch.arange(2.0 * 3 * 8 * 8).reshape(2, 3, 8, 8)
WRONG = {
    "array": (lambda: IMAGES.numpy(), "convert it: torch.from_numpy(images)"),
    "list of tensors": (lambda: list(IMAGES), "join them: torch.stack(tuple(images))"),
    "lists": (lambda: IMAGES.tolist(), "convert it: torch.tensor(images)"),
    "path": (lambda: "page.png", "neuronkit.ocr.load_image"),
    "no batch": (lambda: IMAGES[0], "add the batch dimension: images.unsqueeze(0)"),
    "NHWC": (lambda: IMAGES.permute(0, 2, 3, 1), "images.permute(0, 3, 1, 2)"),
    "HWC": (lambda: IMAGES[0].permute(1, 2, 0), "images.permute(2, 0, 1).unsqueeze(0)"),
    "grey": (lambda: IMAGES[:, :1], "images.expand(-1, 3, -1, -1)"),
    "two batch dimensions": (lambda: IMAGES[None], "images.squeeze(0)"),
    "double": (lambda: IMAGES.double(), "images.to(torch.float32)"),
    "half": (lambda: IMAGES.half(), "images.to(torch.float32)"),
    "bytes": (lambda: IMAGES.byte(), "images.to(torch.float32) / 255"),
    "complex": (lambda: IMAGES.to(torch.complex64), "images.real"),
    "sparse": (lambda: IMAGES.to_sparse(), "images.to_dense()"),
    "sparse rows": (lambda: IMAGES[0, 0].to_sparse_csr(), "images.to_dense()"),
    "quantised": (lambda: torch.quantize_per_tensor(IMAGES, 1.0, 0, torch.quint8), "images.dequantize()"),
    "meta": (lambda: IMAGES.to("meta"), "torch.zeros((2, 3, 8, 8))"),
    "size": (lambda: IMAGES[..., :7], "neuronkit.FixedShape"),
}


@pytest.mark.filterwarnings("ignore:.*quantize", "ignore:Sparse CSR")
@pytest.mark.parametrize("case", WRONG)
def test_wrong_tensors_are_told_what_mends_them(case: str) -> None:
    make, message = WRONG[case]
    with pytest.raises(NeuronKitError) as caught:
        tensor("images", make(), shape=(None, 3, 8, 8), dtype="float32")
    assert message in str(caught.value)


@pytest.mark.filterwarnings(
    "ignore:.*quantize", "ignore:Sparse CSR", "ignore:non-writable", "ignore:The given NumPy array is not writ"
)
@pytest.mark.parametrize("case", sorted(set(WRONG) - {"path", "bytes", "meta", "size", "list of tensors"}))
def test_what_the_message_says_mends_them(case: str) -> None:
    make, _ = WRONG[case]
    images = make()
    with pytest.raises(NeuronKitError) as caught:
        tensor("images", images, shape=(None, 3, 8, 8) if case != "sparse rows" else (8, 8), dtype="float32")
    fix = str(caught.value).rsplit(": ", 1)[1]
    mended = eval(fix, {"torch": torch, "images": images})
    assert (
        tensor("images", mended, shape=(None, 3, 8, 8) if case != "sparse rows" else (8, 8), dtype="float32")
        is not None
    )


def test_tensors_of_all_kinds_come_back_plain_and_equal() -> None:
    weights = torch.nn.Parameter(torch.ones(2))
    assert tensor("x", weights) is weights
    assert tensor("x", IMAGES) is IMAGES
    assert type(tensor("x", IMAGES.as_subclass(Logged))) is torch.Tensor
    assert tensor("x", (weights * 2)).requires_grad
    waves = torch.tensor([1 + 2j])
    assert not tensor("x", waves.conj()).is_conj()
    assert tensor("x", waves.conj()).equal(torch.tensor([1 - 2j]))
    assert not tensor("x", waves.conj().imag).is_neg()


@pytest.mark.torch2
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested")
def test_nested_and_fake_tensors_are_refused() -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    rows = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)])
    with pytest.raises(NeuronKitError, match="to_padded_tensor"):
        tensor("x", rows)
    with FakeTensorMode(), pytest.raises(NeuronKitError, match=r"got a (meta|FakeTensor) tensor"):
        tensor("x", torch.zeros(2))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.nn.Linear, r"make an instance: Linear\(...\)"),
        ("weights.pt", r"load_checkpoint\(model, path\)"),
        ({"a": torch.zeros(1)}, "load_state_dict"),
        (torch.zeros(1), "the model comes first"),
        (None, "give the model itself"),
    ],
)
def test_what_is_no_module_is_told_how_to_become_one(value: Any, message: str) -> None:
    with pytest.raises(NeuronKitError, match=message):
        module("model", value)


@pytest.mark.parametrize("value", [1 << 63, -(1 << 64), 10**5000], ids=["64", "-65", "16610"])
def test_whole_numbers_have_64_bits(value: int) -> None:
    with pytest.raises(OptionError, match="expected a whole number of 64 bits"):
        checks.integer("n", value)


def test_numbers_that_python_does_not_write_are_refused_in_words() -> None:
    with pytest.raises(SpecError, match="a whole number of 16610 bits; expected a whole number of 64 bits"):
        StaticPARSeq(PARSeq("abc", embed_dim=8, enc_depth=1, enc_num_heads=1, dec_num_heads=1), max_length=10**5000)

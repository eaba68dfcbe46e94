"""load_checkpoint reads what people have, and says what is wrong with what does not fit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from neuronkit.errors import AssumptionWarning, CheckpointError
from neuronkit.models import CRAFT, LinkRefiner, PARSeq, load_checkpoint
from neuronkit.ocr.charset import CHARSET_62, CHARSET_94

SIZES = {"embed_dim": 64, "enc_depth": 2, "enc_num_heads": 2, "dec_num_heads": 4, "patch_size": [4, 8]}


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("executed"),))


def prefixed(prefix: str, model: nn.Module) -> dict[str, torch.Tensor]:
    return {prefix + name: value for name, value in model.state_dict().items()}


def parseq(charset: str = CHARSET_94, **sizes: Any) -> PARSeq:
    return PARSeq(charset, **{**SIZES, **sizes}).eval()


def hyper_parameters(**changes: Any) -> dict[str, Any]:
    return {"charset_train": CHARSET_94, "charset_test": "x", "max_label_length": 25, "lr": 7e-4, **SIZES, **changes}


def assert_same(model: nn.Module, other: nn.Module) -> None:
    other_state = other.state_dict()
    assert model.state_dict().keys() == other_state.keys()
    assert all(torch.equal(value, other_state[name]) for name, value in model.state_dict().items())


def craft_files(model: CRAFT) -> dict[str, Any]:
    return {
        "plain": model.state_dict(),
        "distributed": prefixed("module.", model),
        "trainer": {"iter": 7, "craft": prefixed("module.", model), "optimizer": {"lr": 0.1}},
        "torch.compile": prefixed("_orig_mod.", model),
        "torch.compile of distributed": prefixed("_orig_mod.module.", model),
    }


@pytest.mark.parametrize("kind", ["plain", "distributed", "trainer", "torch.compile", "torch.compile of distributed"])
def test_reads_craft_files(kind: str, tmp_path: Path) -> None:
    model = CRAFT(width=0.125)
    torch.save(craft_files(model)[kind], tmp_path / "craft.pth")
    assert_same(load_checkpoint(CRAFT, tmp_path / "craft.pth"), model)
    assert_same(load_checkpoint(CRAFT(width=0.125), str(tmp_path / "craft.pth")), model)


@pytest.mark.parametrize("width", [0.125, 1.0])
def test_reads_files_of_the_link_refiner(width: float, tmp_path: Path) -> None:
    model = LinkRefiner(width=width)
    torch.save(prefixed("module.", model), tmp_path / "refiner.pth")
    loaded = load_checkpoint(LinkRefiner, tmp_path / "refiner.pth")
    assert_same(loaded, model)
    assert not loaded.training
    assert_same(load_checkpoint(LinkRefiner(width=width), tmp_path / "refiner.pth"), model)
    with pytest.raises(CheckpointError, match="expected the weights of a CRAFT"):
        load_checkpoint(CRAFT, tmp_path / "refiner.pth")
    narrow = {**model.state_dict(), "last_conv.0.weight": torch.zeros(64, 5, 3, 3)}
    torch.save(narrow, tmp_path / "narrow.pth")
    with pytest.raises(CheckpointError, match=r"got channels of 3, 64, .*published LinkRefiner \(32, 64, 128\)"):
        load_checkpoint(LinkRefiner, tmp_path / "narrow.pth")


def test_names_of_the_link_refiner_are_the_published_ones() -> None:
    state = LinkRefiner().state_dict()
    shapes = {name: tuple(value.shape) for name, value in state.items() if name.endswith("weight") and value.dim() == 4}
    head = {"last_conv.0.weight": (64, 34, 3, 3), "last_conv.3.weight": (64, 64, 3, 3)}
    branch = {"0": (128, 64, 3, 3), "3": (128, 128, 1, 1), "6": (1, 128, 1, 1)}
    branches = {f"aspp{i}.{layer}.weight": shape for i in range(1, 5) for layer, shape in branch.items()}
    assert shapes == {**head, "last_conv.6.weight": (64, 64, 3, 3), **branches}


def parseq_files(model: PARSeq) -> dict[str, Any]:
    return {
        "old lightning": {"state_dict": model.state_dict(), "hyper_parameters": hyper_parameters(), "epoch": 3},
        "new lightning": {"state_dict": prefixed("model.", model), "hyper_parameters": hyper_parameters()},
        "the post's": {"cfg": {"model": hyper_parameters()}, "model": model.state_dict()},
    }


@pytest.mark.parametrize("kind", ["old lightning", "new lightning", "the post's"])
def test_reads_parseq_files(kind: str, tmp_path: Path) -> None:
    model = parseq()
    torch.save(parseq_files(model)[kind], tmp_path / "parseq.ckpt")
    loaded = load_checkpoint(PARSeq, tmp_path / "parseq.ckpt")
    assert_same(loaded, model)
    images = torch.randn(2, 3, 32, 128)
    with torch.no_grad():
        assert torch.equal(loaded(images), model(images))


@pytest.mark.parametrize("charset", [36, 62, 94])
def test_reads_hub_weights_by_their_shapes(charset: int, tmp_path: Path) -> None:
    model = PARSeq(charset, embed_dim=64, enc_depth=2, enc_num_heads=1, dec_num_heads=2, dec_depth=2).eval()
    torch.save(model.state_dict(), tmp_path / "hub.pt")
    with pytest.warns(AssumptionWarning, match=f"assumed the {charset} characters '0123456789"):
        loaded = load_checkpoint(PARSeq, tmp_path / "hub.pt")
    assert_same(loaded, model)
    assert loaded.charset == model.charset
    images = torch.randn(1, 3, 32, 128)
    with torch.no_grad():
        assert torch.equal(loaded(images, 25), model(images, 25))


def test_takes_settings_from_hyper_parameters(tmp_path: Path) -> None:
    model = parseq(CHARSET_62, max_label_length=12, decode_ar=False, refine_iters=3)
    settings = hyper_parameters(charset_train=CHARSET_62, max_label_length=12, decode_ar=False, refine_iters=3)
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": settings}, tmp_path / "c.ckpt")
    loaded = load_checkpoint(PARSeq, tmp_path / "c.ckpt")
    assert (loaded.charset.characters, loaded.decode_ar, loaded.refine_iters) == (CHARSET_62, False, 3)


def test_lists_missing_unexpected_and_misshaped_keys_and_changes_nothing(tmp_path: Path) -> None:
    model = CRAFT(width=0.125)
    state = model.state_dict()
    state["extra.weight"] = torch.zeros(1)
    state["conv_cls.0.weight"] = torch.zeros(2, 2, 3, 3)
    del state["upconv1.conv.0.bias"]
    torch.save(state, tmp_path / "bad.pth")
    other = CRAFT(width=0.125)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(other, tmp_path / "bad.pth")
    message = str(caught.value)
    assert "1 missing: upconv1.conv.0.bias" in message
    assert "1 unexpected: extra.weight" in message
    assert "1 mis-shaped: conv_cls.0.weight (2, 2, 3, 3), expected (4, 4, 3, 3)" in message
    assert all(torch.equal(value, before[name]) for name, value in other.state_dict().items())


def test_refuses_another_charset_of_the_same_size(tmp_path: Path) -> None:
    torch.save({"state_dict": parseq().state_dict(), "hyper_parameters": hyper_parameters()}, tmp_path / "c.ckpt")
    with pytest.raises(CheckpointError, match="got weights trained on charset"):
        load_checkpoint(parseq(CHARSET_94[::-1]), tmp_path / "c.ckpt")


def test_asks_for_a_charset_nobody_can_guess(tmp_path: Path) -> None:
    torch.save(parseq("abc").state_dict(), tmp_path / "c.pt")
    with pytest.raises(CheckpointError, match=r"got a model of 3 characters that does not say which; .* pass charset"):
        load_checkpoint(PARSeq, tmp_path / "c.pt")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_truncated_file_is_named(share: float, tmp_path: Path) -> None:
    torch.save(CRAFT(width=0.0625).state_dict(), tmp_path / "whole.pth")
    contents = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "cut.pth").write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(CheckpointError, match=r"cut.pth: got a(n empty| broken) file.*; copy or download it again"):
        load_checkpoint(CRAFT, tmp_path / "cut.pth")


def test_a_file_from_before_zip_archives(tmp_path: Path) -> None:
    model = CRAFT(width=0.0625)
    torch.save({"craft": model.state_dict(), "lr": 0.5}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    assert_same(load_checkpoint(CRAFT, tmp_path / "old.pth"), model)
    torch.save({"craft": Payload(), "lr": 0.5}, tmp_path / "evil.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(CheckpointError, match=r"got a whole pickled object, __builtin__\.getattr, which is not"):
        load_checkpoint(CRAFT, tmp_path / "evil.pth")


@pytest.mark.parametrize("contents", [b"hello", b"{}" * 300, b"\x80\x02."])
def test_a_file_that_is_no_checkpoint(contents: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(contents)
    with pytest.raises(CheckpointError, match=r"x.pth"):
        load_checkpoint(CRAFT, tmp_path / "x.pth")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"none.pth', which cannot be read \(No such file"):
        load_checkpoint(CRAFT, tmp_path / "none.pth")


def test_nothing_in_the_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"craft": CRAFT(width=0.0625).state_dict(), "optimizer": Payload()}, tmp_path / "evil.pth")
    load_checkpoint(CRAFT, tmp_path / "evil.pth")
    assert not (tmp_path / "executed").exists()


def test_no_state_dict_inside(tmp_path: Path) -> None:
    torch.save({"epoch": 3}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"got keys epoch, and no state dict; expected tensors by name"):
        load_checkpoint(CRAFT, tmp_path / "x.pth")


def test_a_parseq_file_is_no_craft(tmp_path: Path) -> None:
    torch.save(parseq().state_dict(), tmp_path / "p.pt")
    with pytest.raises(CheckpointError, match=r"got no tensor conv_cls.4.weight; expected the weights of a CRAFT"):
        load_checkpoint(CRAFT, tmp_path / "p.pt")

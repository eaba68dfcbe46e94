"""Numbers that a compiled model looks up in tables are checked before its graph runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import neuronkit
from neuronkit import CompiledModel, TensorSpec, compile_for_inferentia
from neuronkit.errors import ArtifactError, SpecError
from neuronkit.serving.triton.base import Request
from neuronkit.serving.triton.kinds import TensorModel
from neuronkit.serving.triton.metering import Metered

IDS = TensorSpec("ids", (2, 5), "int32", fill=0)
BOXES = TensorSpec("boxes", (2, 5, 4), "int32", fill=0)
PATCHES = TensorSpec("patches", (2, 5, 6), fill=0)


class Reads(nn.Module):
    """A table of 11 entries, and what becomes of the inputs before they are looked up in it."""

    def __init__(self, read: Callable[..., Any]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.read = nn.Embedding(11, 3), read

    def forward(self, *inputs: Tensor) -> Any:
        return self.read(self.table, *inputs)


def compiled(read: Callable[..., Any], *specs: TensorSpec, target: str = "cpu") -> CompiledModel:
    return compile_for_inferentia(Reads(read), specs, target=target)


def layout(table: Any, ids: Tensor, boxes: Tensor) -> Tensor:
    left, top, right = boxes[:, :, 0], boxes[..., 1:2].squeeze(-1), boxes.unbind(-1)[2]
    return table(ids.long()) + table(left) + table(top.long()) + table(right)


def changed(x: Tensor, value: float, *place: Any) -> Tensor:
    x = x.clone()
    x[place] = value
    return x


@pytest.mark.parametrize("target", ["cpu", "openvino"])
def test_ids_and_columns_outside_their_tables_are_refused(target: str, tmp_path: Path) -> None:
    if target != "cpu":
        pytest.importorskip("openvino")
    model = compiled(layout, IDS, BOXES, target=target)
    ids, boxes = IDS.example(), BOXES.example()
    for found in (model, neuronkit.load(model.save(tmp_path / "m.pt"))):
        assert found(changed(ids, 10, 0, 1), changed(boxes, 10, 1, 2)).shape == (2, 5, 3)
        # The last column is not looked up.
        assert found(ids, changed(boxes, 999, ..., 3)).shape == (2, 5, 3)
        for wrong in (11, -1):
            with pytest.raises(SpecError, match=f"ids: got ids from .*{wrong}.*; expected 0 to 10, the entries"):
                found(changed(ids, wrong, 1, 2), boxes)
            for column in range(3):
                with pytest.raises(SpecError, match=rf"boxes: got ids from .*{wrong}.* in column {column} of the last"):
                    found(ids, changed(boxes, wrong, 0, 0, column))
    with model.replicate(2) as replicas, pytest.raises(SpecError, match="ids: got ids from 0 to 11"):
        replicas(changed(ids, 11, 1, 2), boxes)


def test_columns_of_floats_are_cut_to_whole_numbers() -> None:
    model = compiled(lambda table, x: table(x[..., 0].long()) + x[..., 3:], PATCHES)
    patches = PATCHES.example()
    for value in (10.9, -0.5):
        assert torch.equal(model(changed(patches, value, 0, 0, 0)), model(changed(patches, int(value), 0, 0, 0)))
    for value in (11, -1, float("nan"), float("inf")):
        with pytest.raises(SpecError, match=r"patches: got ids from .* in column 0 of the last dimension"):
            model(changed(patches, value, 0, 0, 0))
    # Servers answer so too, as to any bad request, while the others of the batch are computed.
    served = TensorModel({"model": Metered(model)}, 1)
    rows = [changed(patches, value, 0, 0, 0)[:1].numpy() for value in (3, 11)]
    good, bad = served.answer([Request(lambda row=row: {"patches": row}, ["output_0"]) for row in rows])
    assert isinstance(bad, SpecError)
    assert isinstance(good, dict)
    assert np.array_equal(good["output_0"], model(changed(patches, 3, 0, 0, 0))[:1].numpy())


@pytest.mark.parametrize(
    "read",
    [
        lambda table, ids: table(ids.clamp(0, 10)),
        lambda table, ids: table(ids.clone().clamp_(0, 10)),
        lambda table, ids: table(torch.where(ids > 10, 0, ids)),
        lambda table, ids: table(ids[:, :3]),
        lambda table, ids: table(ids.long() % 11),
        lambda table, ids: table(ids.reshape(10)[:3]),
        lambda table, ids: table(_halves_limited(ids.long())),
    ],
)
def test_numbers_that_are_limited_or_not_looked_up_are_not_refused(read: Callable[..., Any]) -> None:
    large = changed(IDS.example(), 99, ..., 4)
    assert torch.equal(compiled(read, IDS)(large), Reads(read)(large))


def _halves_limited(ids: Tensor) -> Tensor:
    whole = ids.clone()
    whole[:, :2].clamp_(0, 10)
    whole[:, 2:].clamp_(0, 10)
    return whole


@pytest.mark.parametrize(
    ("read", "lowest"),
    [
        (lambda table, ids: table(ids.t().reshape(-1)), 0),
        (lambda table, ids: table.weight.index_select(0, ids.flatten()), 0),
        (lambda table, ids: table.weight[ids.long()], -11),
    ],
)
def test_every_way_to_look_up_is_known(read: Callable[..., Any], lowest: int) -> None:
    model, ids = compiled(read, IDS), IDS.example()
    model(changed(ids, lowest, 0, 0))
    for wrong in (lowest - 1, 11):
        with pytest.raises(SpecError, match=f"ids: got ids from .*{wrong}.*; expected {lowest} to 10"):
            model(changed(ids, wrong, 0, 0))


@pytest.mark.parametrize("target", ["cpu", "onnx"])
def test_computed_numbers_outside_a_table_are_refused_by_the_graph(target: str) -> None:
    if target != "cpu":
        pytest.importorskip("onnxruntime")
    model = compiled(lambda table, boxes: table((boxes[..., 2] - boxes[..., 0]).abs()), BOXES, target=target)
    for _ in range(2):
        with pytest.raises(SpecError, match=r"looks up a number that it computes of boxes: int32.* not in its table"):
            model(changed(BOXES.example(), 11, 0, 0, 2))
    assert model(changed(BOXES.example(), 10, 0, 0, 2)).shape == (2, 5, 3)


@pytest.mark.parametrize("columns", [{"other": [[0, 0, 3]]}, {"boxes": [[4, 0, 3]]}, {"boxes": [[0, 3]]}])
def test_manifests_with_other_columns_are_damaged(columns: dict[str, Any], tmp_path: Path) -> None:
    model = compiled(layout, IDS, BOXES)
    model.manifest["column_ranges"] = columns
    with pytest.raises(ArtifactError, match="manifest is damaged"):
        neuronkit.load(model.save(tmp_path / "m.pt"))


def test_examples_for_comparing_lie_in_the_tables() -> None:
    model = compiled(layout, IDS, BOXES)
    assert neuronkit.compare_models([model, model]).passed


@pytest.mark.parametrize("target", ["cpu", "onnx"])
def test_widths_of_boxes_are_traced_with_numbers_such_as_the_callers(target: str) -> None:
    """Of random numbers, one less another is -1, which no table has."""
    if target != "cpu":
        pytest.importorskip("onnxruntime")
    boxes = torch.tensor([[[1, 2, 5, 4]] * 5] * 2)
    model = Reads(lambda table, boxes: table(boxes[..., 2:] - boxes[..., :2]))
    found = compile_for_inferentia(model, (boxes,), target=target)
    boxes[..., 2] = 10
    assert torch.equal(found(boxes), model(boxes))

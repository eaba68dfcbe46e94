"""compare_costs: several reports in one table and one picture."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from neuronkit import StaticPARSeq, TensorSpec, estimate
from neuronkit.analysis import CostTable, compare_costs
from neuronkit.demo.weights import load_parseq
from neuronkit.errors import OptionError


def linear(batch):
    return estimate(nn.Linear(64, 64), TensorSpec("x", (batch, 64)), target="inf2")


@pytest.fixture(scope="module")
def table():
    one = linear(1)
    return compare_costs({"one": one, "eight": linear(8), "one on Inf1": one.on("inf1"), "one on Trn2": one.on("trn2")})


def test_every_report_is_priced_on_every_instance_of_its_chip(table) -> None:
    assert isinstance(table, CostTable)
    assert len(table.rows) == 4 + 4 + 4 + 2
    assert {row.instance for row in table.rows if row.name == "one on Inf1"} == {
        "inf1.xlarge", "inf1.2xlarge", "inf1.6xlarge", "inf1.24xlarge",
    }  # fmt: skip


def test_numbers_are_those_of_one_inference(table) -> None:
    rows = {(row.name, row.instance): row for row in table.rows}
    one, eight = rows["one", "inf2.xlarge"], rows["eight", "inf2.xlarge"]
    assert one.gflop_per_inference == eight.gflop_per_inference == 2 * 64 * 64 / 1e9
    # Weights are moved once for the batch.
    assert eight.ms_per_inference_lower_bound < one.ms_per_inference_lower_bound
    report = table.reports["eight"]
    assert eight.ms_per_inference_lower_bound == pytest.approx(report.roofline_ms_lower_bound / 8)
    assert eight.usd_per_million_lower_bound == report.instances["inf2.xlarge"].usd_per_million_lower_bound


def test_shows_every_form(table) -> None:
    text = str(table)
    assert len(text.splitlines()) == 2 + 2 + len(table.reports) + len(table.rows)
    assert max(map(len, text.splitlines())) <= 100
    for expected in ("eight", "inf1.24xlarge", "no public price", "unofficial"):
        assert expected in text
        assert expected in table._repr_html_()
    assert len(json.loads(json.dumps(table.to_dict()))["rows"]) == len(table.rows)


def test_methods_and_cases_side_by_side() -> None:
    static = StaticPARSeq(load_parseq(), max_length=6, method="fixed_point")
    table = compare_costs({case: estimate(static, target="inf2", passes=case) for case in (None, "worst")})
    assert {row.case for row in table.rows} == {"as on the example inputs", "worst case"}


def test_reports_are_ranked() -> None:
    many, few = (
        estimate(StaticPARSeq(load_parseq(), batch_size=8, method=method), target="inf2", passes=passes)
        for method, passes in (("fixed_point", 4), ("fused", 7))
    )
    given = {"many calls": many, "few calls": few}
    assert list(compare_costs(given).reports) == ["many calls", "few calls"]
    # The fused graph makes more passes than these words need, and moves fewer bytes in fewer calls.
    assert list(compare_costs(given, rank_by="ms").reports) == ["many calls", "few calls"]
    for rank_by in ("link_bytes", "device_calls"):
        ranked = compare_costs(given, rank_by=rank_by)
        assert list(ranked.reports) == ["few calls", "many calls"]
        assert ranked.rows[0].link_bytes_per_inference == few.io_bytes / 8
        assert ranked.rows[0].device_calls_per_inference == 1 / 8
    assert list(compare_costs(given, rank_by="ms", link_gb_s=1).reports) == ["few calls", "many calls"]
    with pytest.raises(OptionError, match="rank_by"):
        compare_costs(given, rank_by="usd")


def test_reports_without_names_get_some() -> None:
    assert list(compare_costs([linear(1), linear(2)]).reports) == ["1: inf2, batch 1", "2: inf2, batch 2"]


def test_names_may_be_anything() -> None:
    table = compare_costs({1: linear(1), None: linear(2)})
    assert [row.name for row in table.rows[::4]] == ["1", "None"]
    assert "None" in str(table)


@pytest.mark.parametrize("reports", [{}, [], {"a": 3}, ["report"]])
def test_anything_else_is_refused(reports) -> None:
    with pytest.raises(OptionError, match="at least one CostReport"):
        compare_costs(reports)
    with pytest.raises(OptionError, match="of type CostReport; expected reports by name"):
        compare_costs(linear(1))


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_draws(table, tmp_path: Path, suffix) -> None:
    path = tmp_path / f"costs.{suffix}"
    table.plot(path)
    assert path.stat().st_size > 10_000
    with pytest.raises(OptionError, match="expected a picture's suffix, one of "):
        table.plot(tmp_path / "costs.txt")


def test_dollars_in_names_are_no_formula(tmp_path: Path) -> None:
    compare_costs({"$y_{$": linear(1)}).plot(tmp_path / "costs.png")
    assert (tmp_path / "costs.png").stat().st_size > 10_000


@pytest.mark.parametrize("path", [None, True, 3, b"costs.png", "a\0.png", "\ud800.png", [], torch.zeros(2)])
def test_a_bad_path_of_a_picture_is_named(table, path) -> None:
    with pytest.raises(OptionError, match="got path="):
        table.plot(path)


@pytest.mark.parametrize("passes", [10**18, torch.zeros(2), b"worst", "best", [3], {"main": 10**7}, {None: 1}])
def test_bad_passes_are_named(passes) -> None:
    with pytest.raises(OptionError, match=r"got passes"):
        estimate(nn.Linear(64, 64), TensorSpec("x", (1, 64)), target="inf2", passes=passes)

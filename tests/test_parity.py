import math

import pytest
import torch
from torch import Tensor

from neuronkit.compile.parity import assert_parity
from neuronkit.errors import NeuronKitError, OptionError, ParityError, SpecError


def double(x: Tensor) -> Tensor:
    return 2 * x


def test_equal_computations_agree() -> None:
    report = assert_parity(double, double, [(torch.randn(3, 4),), (torch.randn(3, 4),)])
    assert report.passed
    assert report.num_inputs == 2
    (output,) = report.outputs
    assert (output.max_abs, output.argmax_agreement, output.sqnr_db) == (0.0, 1.0, math.inf)


def test_a_difference_raises_with_the_numbers_and_the_place() -> None:
    def wrong(x: Tensor) -> Tensor:
        y = 2 * x
        y[1, 2] += 0.5 * x[0, 0]
        return y

    inputs = [(torch.zeros(3, 4),), (torch.ones(3, 4),)]
    with pytest.raises(ParityError, match=r"(?s)max abs.* 0\.5 .*input 1 \[1, 2\]  out of tolerance") as caught:
        assert_parity(wrong, double, inputs)
    assert caught.value.report.outputs[0].worst_input == 1
    assert isinstance(caught.value, AssertionError)
    assert isinstance(caught.value, NeuronKitError)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_value_that_is_not_finite_fails_at_any_tolerance(bad: float) -> None:
    with pytest.raises(ParityError, match="NOT FINITE"):
        assert_parity(lambda x: x * bad, double, [(torch.ones(2),)], rtol=1e9, atol=1e9)


def test_scale_counts() -> None:
    # A cosine similarity would call these equal.
    with pytest.raises(ParityError):
        assert_parity(lambda x: 2.002 * x, double, [(torch.ones(5),)])


def test_all_outputs_are_compared() -> None:
    with pytest.raises(ParityError, match=r"output 1 .*out of tolerance"):
        assert_parity(lambda x: (x, {"a": x + 1}), lambda x: (x, {"a": x}), [(torch.ones(5),)])


def test_shapes_must_match() -> None:
    with pytest.raises(SpecError, match=r"outputs of shapes \[\(5,\)\] cannot be compared with \[\(4,\)\]"):
        assert_parity(lambda x: x, lambda x: x[1:], [(torch.ones(5),)])


def test_no_inputs_is_an_error() -> None:
    with pytest.raises(SpecError, match="got no inputs; expected at least one"):
        assert_parity(double, double, [])


def test_tensors_of_one_call_may_be_given_as_they_are() -> None:
    assert assert_parity(torch.add, torch.add, [torch.ones(2), torch.ones(2)]).num_inputs == 1


def test_decoded_results_must_be_equal() -> None:
    with pytest.raises(ParityError, match=r"decoded results agree by 0.00%"):
        assert_parity(lambda x: x + 1e-6, double, [(torch.zeros(1),)], atol=1, task=lambda y: float(y))


def test_report_is_json_ready() -> None:
    import json

    report = assert_parity(double, double, [(torch.randn(3),)])
    assert json.loads(json.dumps(report.to_dict(), allow_nan=False))["outputs"][0]["sqnr_db"] == "inf"


def test_agreement_may_be_partial_where_the_caller_says_so() -> None:
    def share(first: list[int], second: list[int]) -> float:
        return sum(a == b for a, b in zip(first, second)) / len(first)

    def run(minimum: float) -> float | None:
        other = torch.tensor([1.0, 2.0, 3.0, 5.0])
        return assert_parity(
            lambda x: x,
            lambda x: other,
            [(torch.tensor([1.0, 2.0, 3.0, 4.0]),)],
            atol=2,
            task=lambda y: y.tolist(),
            agreement=share,
            min_task_agreement=minimum,
        ).task_agreement

    assert run(0.7) == 0.75
    with pytest.raises(ParityError, match=r"decoded results agree by 75.00%"):
        run(0.8)


@pytest.mark.parametrize("settings", [{"rtol": math.inf}, {"atol": math.nan}, {"rtol": -1}, {"min_task_agreement": 2}])
def test_a_tolerance_that_lets_everything_pass_is_refused(settings: dict[str, float]) -> None:
    x = torch.zeros(3)
    with pytest.raises(OptionError, match="expected a finite number"):
        assert_parity(lambda x: x, lambda x: x + 100, [(x,)], **settings)

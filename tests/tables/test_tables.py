import re
import subprocess
import sys

import pytest

from neuronkit import tables

pytestmark = pytest.mark.tooling

# The kinds that the 2023 compile logs of CRAFT and PARSeq print as supported.
LOG = """
    Int _convolution add argmax baddbmm bmm cat chunk contiguous cumsum div dropout eq expand fill_ flatten full
    gelu gt layer_norm linear masked_fill matmul mul ones permute reshape select size slice softmax
    split_with_sizes squeeze sub to transpose triu unbind unsqueeze view batch_norm max_pool2d relu_
    upsample_bilinear2d
"""
PRINTED_AS_SUPPORTED = {f"aten::{name}" for name in LOG.split()}


def test_inf1_list_holds_what_the_2023_logs_printed() -> None:
    operators = tables.inf1_operators()
    assert set(operators.supported) >= PRINTED_AS_SUPPORTED
    assert not {"aten::embedding", "aten::index_put_"} & set(operators.supported)
    assert "performance" in operators.removed["aten::embedding"]
    assert "aten::index_put_" in operators.unlisted


def test_inf1_kinds_have_one_status_each() -> None:
    operators = tables.inf1_operators()
    assert len(operators.supported) == 170
    for other in (operators.limited, operators.removed, operators.unlisted):
        assert not set(operators.supported) & set(other)
    assert all(re.match(r"\d+\.\d+", release) for release in operators.supported.values())
    assert operators.precision_sensitive <= set(operators.supported)
    assert "3-argument" in operators.limited["aten::where"].condition


def test_xla_list_tells_lowered_from_missing() -> None:
    lowered = tables.xla_operators().lowered
    assert len(lowered) == 389
    assert {"relu", "add.Tensor", "native_layer_norm", "index_put_"} <= lowered
    assert not {"grid_sampler_2d", "im2col", "_fft_r2c"} & lowered


def test_hlo_list_names_custom_calls() -> None:
    assert "ResizeBilinear" in tables.hlo_instructions().custom_call_targets
    assert "Scatter" in tables.hlo_instructions().conditions


@pytest.mark.parametrize("kind", ["codes", "texts"])
def test_every_compiler_message_says_what_to_do(kind) -> None:
    for key, message in getattr(tables.compiler_messages(), kind).items():
        assert all((message.meaning, message.workaround, message.source)), key
        assert not re.match(r"(same|as |see page)", message.workaround), key
        assert message.hint.startswith(message.meaning)
        assert message.workaround in message.hint
        assert message.advice in message.hint


def test_codes_are_written_as_the_compiler_prints_them() -> None:
    codes = tables.compiler_messages().codes
    assert all(re.fullmatch(r"NCC_[A-Z]{3,4}\d{3}", code) for code in codes)
    assert "dynamic shape" in codes["NCC_EMOD025"].meaning


def test_hardware_has_a_source_and_the_usual_instances() -> None:
    table = tables.hardware()
    assert table["source"]
    assert table["instances"]["inf1.xlarge"]["cores"] == 4
    assert table["chips"]["Inferentia2"]["device_mem_gib"] == 32


def test_tables_are_read_once() -> None:
    assert tables.inf1_operators() is tables.inf1_operators()


def test_reading_every_table_needs_no_torch() -> None:
    code = (
        "import sys; from neuronkit import tables; tables.inf1_operators(); tables.xla_operators(); "
        "tables.hlo_instructions(); tables.compiler_messages(); tables.hardware(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

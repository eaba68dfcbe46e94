import re
from pathlib import Path
from typing import Any

import pytest

from neuronkit.targets.progress import Progress, detail
from neuronkit.targets.sdk.log import last_line, read_log

pytestmark = pytest.mark.tooling


def test_details_are_shown_when_asked_for_and_not_otherwise(capsys: pytest.CaptureFixture[str]) -> None:
    for show in (True, None, False):
        with Progress(show) as report:
            report("compiling head")
            detail(report, "compiling head, 3 s: [2/7] scheduling")
        assert ("compiling head, 3 s: [2/7] scheduling" in capsys.readouterr().err) is (show is True)


def test_the_line_holds_the_stage_and_the_time_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(True) as report:
        report("checking operators")
    line = capsys.readouterr().err.rsplit("\r", 1)[-1].strip()
    assert re.fullmatch(r"compile: checking operators \[\d\d:\d\d\]", line), line


def test_a_plain_function_hears_of_stages_alone() -> None:
    stages: list[Any] = []
    detail(stages.append, "3 s")
    detail(None, "3 s")
    assert stages == []


@pytest.mark.parametrize(
    ("written", "line"),
    [
        (b"", ""),
        (b"first\nsecond\n\n", "second"),
        (b"10%\r20%\r30%\n", "30%"),
        (b"\xff\xfe bad\x1b[31m\n", "\ufffd\ufffd bad [31m"),
        (b"x" * 1000, "x" * 300 + " …"),
    ],
)
def test_the_last_line_of_any_log(tmp_path: Path, written, line) -> None:
    (tmp_path / "log").write_bytes(written)
    assert last_line(tmp_path / "log") == line
    assert read_log(tmp_path / "log").tail[-1:] == ((line,) if line else ())


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert last_line(tmp_path / "log") == ""
    assert read_log(tmp_path / "log").tail == ()


@pytest.mark.parametrize(
    ("log", "calls"),
    [
        ("INFO: /opt/bin/neuronx-cc compile --target trn1 g.hlo", ("/opt/bin/neuronx-cc compile --target trn1 g.hlo",)),
        ("['neuron-cc', 'compile', '--target', 'inf1']", ("neuron-cc', 'compile', '--target', 'inf1']",)),
        ("neuronx-cc --target trn1 compile g.hlo", ("neuronx-cc --target trn1 compile g.hlo",)),
        ("python -m neuronxcc.driver compile --target=trn1", ("neuronxcc.driver compile --target=trn1",)),
        (
            "neuronx-cc compile g.hlo \\\n  --target trn1 \\\n  -O2\nend",
            ("neuronx-cc compile g.hlo --target trn1 -O2",),
        ),
        ("neuronx-cc compile finished in 3 s", ()),
        ("see log-neuron-cc.txt", ()),
    ],
)
def test_command_lines_of_the_compiler_are_told_from_prose(tmp_path: Path, log, calls) -> None:
    (tmp_path / "log").write_text(log)
    assert read_log(tmp_path / "log").calls == calls

"""The page of Python beside a runtime's artifact: the same results with NumPy and the runtime alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from neuronkit import CompiledModel, StaticPARSeq, compile_for_inferentia
from neuronkit.adapters.parseq import PARSeqOptions
from neuronkit.adapters.registry import make_static
from neuronkit.demo.picture import load_truth
from neuronkit.demo.weights import load_parseq
from neuronkit.models import PARSeq
from neuronkit.ocr import ParseqProcessor, TextBox, crop_words

pytestmark = pytest.mark.runtimes
PICTURE = Path(__file__).parents[2] / "neuronkit" / "demo" / "receipt.png"
# Any import of these fails.
BARE = "import sys; sys.modules.update(dict.fromkeys(['torch', 'neuronkit', 'onnx', 'cv2', 'PIL']))"


def run_page(compiled: CompiledModel, folder: Path, *inputs: torch.Tensor) -> tuple[list[Any], list[str]]:
    """Save, and run the page in a process that can import neither torch nor neuronkit."""
    path = compiled.save(folder / "model")
    for i, tensor in enumerate(inputs):
        np.save(folder / f"{i}.npy", tensor.numpy())
    code = (
        f"{BARE}; import json; import numpy as np; from run import Model; model = Model(threads=1); "
        f"made = model(*(np.load(f'../{{i}}.npy') for i in range({len(inputs)}))); np.savez('../made.npz', *made); "
        "print(json.dumps(model.texts(made)) if model.manifest['characters'] else '[]')"
    )
    # Not isolated: where the test environment is put together of several, PYTHONPATH names them.
    done = subprocess.run([sys.executable, "-c", code], cwd=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = np.load(folder / "made.npz")
    return [made[name] for name in made.files], json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("target", "method", "outputs"),
    [
        ("onnx", "fixed_point", "logits"),
        ("onnx", "fixed_point", "tokens"),
        ("onnx", "stepwise", "tokens"),
        ("onnx", "fused", "tokens"),
        ("onnx", "unrolled", "logits"),
        ("openvino", "stepwise", "logits"),
        ("openvino", "fused", "logits"),
    ],
)
def test_the_page_gives_what_the_artifact_gives(target: str, method: str, outputs: str, tmp_path: Path) -> None:
    torch.manual_seed(26)
    model = PARSeq(
        36, max_label_length=6, embed_dim=32, enc_depth=1, enc_num_heads=2, dec_num_heads=4, patch_size=(8, 16)
    )
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(3.0)
    options = PARSeqOptions(method=method, outputs=outputs)
    static = make_static(model, batch_size=2, options=options)
    compiled = compile_for_inferentia(static, target=target, verify=False)
    inputs = static.example_inputs(3)
    made, _ = run_page(compiled, tmp_path, *inputs)
    expected = compiled(*inputs)
    for ours, theirs in zip(made, expected if isinstance(expected, tuple) else (expected,)):
        assert np.array_equal(ours, theirs.numpy())


def test_the_page_reads_the_demo_picture(tmp_path: Path) -> None:
    model, truth = load_parseq(), load_truth()[:8]
    boxes = [TextBox(np.array(word.quad, np.float32), 1.0) for word in truth]
    processor = ParseqProcessor(charset=model.charset)
    images = torch.from_numpy(processor.preprocess(crop_words(PICTURE, boxes)))
    compiled = compile_for_inferentia(StaticPARSeq(model, batch_size=8), target="onnx", verify=False)
    (made,), texts = run_page(compiled, tmp_path, images)
    expected = compiled(images)
    assert np.array_equal(made, expected.numpy())
    assert texts == [result.text for result in processor.postprocess(expected)]
    assert sum(text == word.text for text, word in zip(texts, truth)) >= 6

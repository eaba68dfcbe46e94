"""A Korean PARSeq, of 2,350 syllables, from its checkpoint to a drawn page. The weights are random, so the text is too.

python examples/korean_page.py
"""

import tempfile
from pathlib import Path

import torch

import neuronkit
from neuronkit.demo.picture import IMAGE
from neuronkit.demo.weights import load_craft
from neuronkit.models import PARSeq, load_checkpoint
from neuronkit.ocr import CraftProcessor, OCRPipeline, load_image

# The syllables of KS X 1001, in its order: an order of characters belongs to the weights that were trained with it.
SYLLABLES = "".join(bytes([row, cell]).decode("euc-kr") for row in range(0xB0, 0xC9) for cell in range(0xA1, 0xFF))

with tempfile.TemporaryDirectory() as folder:
    torch.manual_seed(0)
    sizes = {"embed_dim": 192, "enc_num_heads": 3, "dec_num_heads": 6, "enc_depth": 4}  # 384, 6, 12, 12 as published
    checkpoint, artifact, drawing = (Path(folder, name) for name in ("korean.ckpt", "korean.pt", "page.png"))
    settings = {"charset_train": SYLLABLES, **sizes}
    torch.save({"state_dict": PARSeq(SYLLABLES, **sizes).state_dict(), "hyper_parameters": settings}, checkpoint)

    model = load_checkpoint(PARSeq, checkpoint)
    static = neuronkit.StaticPARSeq(model, batch_size=8)
    neuronkit.compile_for_inferentia(static, target="cpu").save(artifact)

    read = OCRPipeline(load_craft(), neuronkit.load(artifact), detector_processor=CraftProcessor(mag_ratio=1.0))
    page = read(load_image(IMAGE))
    page.save(drawing)
    korean = all(character in SYLLABLES for word in page.words for character in word.text)
    print(f"{len(SYLLABLES)} syllables, {len(page.words)} words on the page, drawing of {drawing.stat().st_size} bytes")
    print("every character is one of them:", korean)

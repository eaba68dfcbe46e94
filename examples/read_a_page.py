"""From a picture to its text: two small models compiled for the CPU, and the pipeline around them.

python examples/read_a_page.py [PICTURE]
"""

import sys

from neuronkit import StaticCRAFT, StaticPARSeq, compile_for_inferentia
from neuronkit.demo.picture import IMAGE
from neuronkit.demo.weights import load_craft, load_parseq
from neuronkit.ocr import CraftProcessor, OCRPipeline, ParseqProcessor

craft, parseq = load_craft(), load_parseq()
# Fixed shapes: a canvas of 704 x 480 pixels, and eight words at a time.
detector = compile_for_inferentia(
    StaticCRAFT(craft, height=704, width=480), target="cpu", processor=CraftProcessor(mag_ratio=1.0)
)
recognizer = compile_for_inferentia(
    StaticPARSeq(parseq, batch_size=8), target="cpu", processor=ParseqProcessor(charset=parseq.charset)
)
page = OCRPipeline(detector, recognizer)(sys.argv[1] if len(sys.argv) > 1 else IMAGE)
print(page.text)

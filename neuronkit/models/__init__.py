"""CRAFT, its link refiner and PARSeq as plain dynamic modules, and the reader of their checkpoints."""

from neuronkit.models.checkpoint import load_checkpoint as load_checkpoint
from neuronkit.models.craft import CRAFT as CRAFT
from neuronkit.models.parseq import PARSeq as PARSeq
from neuronkit.models.refiner import LinkRefiner as LinkRefiner
from neuronkit.models.refiner import RefinedCRAFT as RefinedCRAFT

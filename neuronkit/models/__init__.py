from neuronkit.models.craft import CRAFT as CRAFT
from neuronkit.models.parseq import PARSeq as PARSeq

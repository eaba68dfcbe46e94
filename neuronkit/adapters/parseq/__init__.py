"""PARSeq: of neuronkit, of baudm/parseq, and of its releases."""

from neuronkit.adapters.parseq.model import FAMILY as FAMILY
from neuronkit.adapters.parseq.model import PARSeqOptions as PARSeqOptions
from neuronkit.adapters.parseq.model import StaticPARSeq as StaticPARSeq

"""``python -m neuronkit``: the command line."""

import sys

from neuronkit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())

"""`python -m redistill`: the shell, see `redistill.cli`."""

import sys

from .cli.commands import main

if __name__ == "__main__":
    sys.exit(main())

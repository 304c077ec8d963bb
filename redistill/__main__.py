"""`python -m redistill`: the shell, see `redistill.cli`."""

import gc
import sys

if __name__ == "__main__":
    gc.disable()  # what is loaded stays, and looking for garbage in it takes a seventh of the start

from .cli.commands import main

if __name__ == "__main__":
    gc.freeze()
    gc.enable()
    sys.exit(main())

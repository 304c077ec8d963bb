"""`python -m redistill`: the shell, see `redistill.cli`."""

from .cli.commands import main

if __name__ == "__main__":
    main()

"""The shell: `python -m redistill`."""

"""Benchmarks that print figures: `python -m benchmarks.NAME [--quick] [--json FILE]`; the last line sums up."""

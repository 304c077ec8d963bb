"""Amounts of memory as text."""

import pytest

from redistill.common.units import parse_bytes


def test_units_are_decimal_or_binary():
    assert parse_bytes("512KiB") == parse_bytes(" 512 kib ") == 524_288
    assert parse_bytes("512KB") == 512_000
    assert parse_bytes("1MB") == 1_000_000 and parse_bytes("1MiB") == 1_048_576
    assert parse_bytes("0.3MB") == 300_000  # not 299,999, as binary fractions have it
    assert parse_bytes("1.5KiB") == 1_536 and parse_bytes("0.0015KB") == 1
    assert parse_bytes("2GiB") == 2**31 and parse_bytes("7") == parse_bytes("7B") == 7


@pytest.mark.parametrize("text", ["", "KB", "-1KB", "1.KB", "1e3", "5KX", "5 K B", "0", "0.5B", "512K", "nan", "٣KB"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="expected at least one byte"):
        parse_bytes(text)

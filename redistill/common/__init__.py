"""Knows nothing of the field: files, the cache folder, the Hub, devices, what is done to any module."""

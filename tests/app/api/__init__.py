"""Tests of the endpoints, which share one studio: a package, so that it is closed after the last of them."""

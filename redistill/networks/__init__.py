"""Builds networks and says where they pool; reads no checkpoint."""

"""Tab Compare: results on the plane of memory and accuracy."""

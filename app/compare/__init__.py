"""Tab Compare: what memory buys, by the way to learn."""

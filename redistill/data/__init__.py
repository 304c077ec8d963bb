"""Pictures by name: found, split, decoded, augmented."""

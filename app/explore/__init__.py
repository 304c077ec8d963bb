"""Tab Explore: strides, and live memory through teacher and student."""

"""Tab Generate: pictures of a teacher and its students, side by side."""

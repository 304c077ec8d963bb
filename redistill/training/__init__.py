"""Settings in, records out: teachers from scratch, students by residual encoded distillation."""

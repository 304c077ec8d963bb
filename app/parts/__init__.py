"""Controls and plots that several tabs use."""

"""Runs as processes, ready-made and own results. No gradio."""

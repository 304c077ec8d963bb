"""The browser page; the only place that imports gradio."""

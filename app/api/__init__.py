"""What the page does as named endpoints, for programs (gradio_client) and agents (MCP)."""

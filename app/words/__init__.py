"""How things are called and numbers written. No gradio."""

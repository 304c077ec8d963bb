"""Draws pictures with diffusion networks and judges them."""

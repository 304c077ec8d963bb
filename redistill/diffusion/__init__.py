"""Samples images from diffusion networks and judges them."""

"""Fits the constants of stacks and accelerators to measurements, with their uncertainty."""

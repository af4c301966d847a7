"""Sweeps: every point of a space as a row in a directory, resumable, on any executor."""

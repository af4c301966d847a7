"""Reads descriptions of hardware and scenarios; the only place that uses pydantic."""

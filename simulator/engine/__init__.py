"""Executors of op graphs: discrete events with contention, max-plus without it."""

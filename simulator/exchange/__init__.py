"""Data parallelism that talks less: policies, the steps they couple, and their steady state."""

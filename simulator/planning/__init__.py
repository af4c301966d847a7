"""Questions asked before a job exists: how many devices, how long, at what price, on what."""

"""Pipeline schedules: the order of forwards and backwards on every rank, without seconds."""

"""Which plan is best: enumerates plans, evaluates them in batches, proves the optimum."""

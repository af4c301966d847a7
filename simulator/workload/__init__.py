"""From a plan to a priced graph of ops: kernels, stages, op classes, lowering."""

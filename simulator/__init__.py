"""trainsim: predicts what a distributed training job will do on a given machine."""

__version__ = "0.1.0"

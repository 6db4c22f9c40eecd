"""genlab: train, sample and evaluate deep generative models of every family from one command line."""

__version__ = "0.1.0"

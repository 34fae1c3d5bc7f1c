"""Hyperparameter sweeps of small tinygrad models on MNIST, run from a YAML file into a CSV."""

__version__ = "0.1.0"

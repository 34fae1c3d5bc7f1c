"""Trained models: kept in files that PyTorch reads too, examined, and used in plain numpy."""

"""``python -m mnist_sweep`` is the command line."""

from mnist_sweep.cli import main

main()

"""Readers of generator checkpoints, one module a dialect. None of them runs what a file carries."""

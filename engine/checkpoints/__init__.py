"""Readers of the files of generators and CLIPs, one module a dialect. Nothing in a file is run."""

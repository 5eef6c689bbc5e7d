"""The embedded models, known by name to `store/registry.py`. How they were made: `zoo/making/`."""

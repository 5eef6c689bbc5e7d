"""The HTTP service: a queue, jobs that outlive a restart, the live session."""

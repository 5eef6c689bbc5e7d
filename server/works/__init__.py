"""The half of the service below HTTP: jobs, pictures, and the processes that work."""

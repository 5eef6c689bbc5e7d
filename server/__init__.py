"""The HTTP service: `works/` does the jobs, `api/` speaks HTTP, `client.py` asks from afar."""

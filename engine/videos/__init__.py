"""Videos of the user's own: read, followed through their frames, and written."""

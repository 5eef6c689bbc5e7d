"""Pictures of the user's own: read, aligned, cut out and written again."""

"""Changes of jobs that were accepted, by patches of what clients may change."""

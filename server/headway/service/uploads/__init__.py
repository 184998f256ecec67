"""Resumable uploads: receiving them, and giving them to the jobs whose submissions name them."""

"""What an attempt may use: memory, CPU time, processes and bytes on disk, watched while it runs.

An attempt without limits is not watched, and nothing of this is called for it.
"""

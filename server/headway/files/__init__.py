"""The bytes of jobs: uploads, working directories, output files. It implements `ports.files`.

What is known about jobs belongs to the backends, and how files are sent to clients to `web`.
"""

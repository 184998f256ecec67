"""The embedded record: one SQLite file that this process owns. `record` opens it; the other modules are its parts.

The SQL is here, one statement a file in `queries/`, and so is the order of columns. What memory holds of jobs is in
`backends.memory`, and what follows from an outcome in the domain.
"""

"""Opening the file: its identity, its migrations, and repairs of rows that could not be written otherwise."""

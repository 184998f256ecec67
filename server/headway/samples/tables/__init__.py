"""What the CSV samples share: reading tables, recognising kinds of columns, statistics, and the report's page."""

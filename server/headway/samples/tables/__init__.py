"""What the CSV samples share: reading tables, telling kinds of columns, statistics, and the report's page."""

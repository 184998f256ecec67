"""Results that are too large for the row of their job."""

"""What one client does to another: each hostile load with the latency of a second owner, quiet and under attack."""

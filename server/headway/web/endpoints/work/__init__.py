"""What workers elsewhere call: a module for each step of an attempt."""

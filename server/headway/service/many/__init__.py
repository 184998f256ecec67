"""Use cases for many jobs at once. Those for one job are one floor up, and are what these are made of."""

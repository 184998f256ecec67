"""Measurements, as ratios within one run: `python -m tests.benchmarks NAME`. Never part of the tests."""

"""Benchmarks, as ratios within one run: `python -m tests.benchmarks NAME`. Not part of the tests."""

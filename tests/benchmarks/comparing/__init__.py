"""One commit against the working tree, in interleaved pairs: `python -m tests.benchmarks --against COMMIT`.

This folder has the statistics, the checkout of the other commit, and the benchmarks that are run against both. The
load generators are those of the other benchmarks, and always the working tree's.
"""

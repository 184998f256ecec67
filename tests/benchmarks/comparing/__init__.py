"""One commit against the working tree, in interleaved pairs: `python -m tests.benchmarks --against COMMIT`.

Here stand the statistics, the checkout of the other commit, and what is played against both. The load generators are
the ones that the other benchmarks use, and always the working tree's.
"""

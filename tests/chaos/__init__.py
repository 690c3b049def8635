"""Processes that use the cache while things go wrong, and a check of all that they read.

`python -m tests.chaos` runs every scenario; `--scenario freeze --seed 7` one of them, with the dice
of an earlier run.
"""

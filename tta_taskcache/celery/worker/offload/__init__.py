"""What the worker's main process does outside of its event loop (promise F4).

One thread looks calls up, another completes hits: each takes all that has arrived at once, and
posts what comes of it to the loop. Pools without an event loop do the same on the spot.
"""

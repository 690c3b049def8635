"""Stores around a store: the circuit breaker, and the batching of looks in an event loop.

May import ``stores.protocol`` and ``core``.
"""

"""The sites that answer a call, producer and pool, and its completion as if it had run.

The third site, the consumer, is in ``worker``.

May import ``lookup``, ``warming`` and what lies below them.
"""

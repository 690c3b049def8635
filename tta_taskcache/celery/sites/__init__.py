"""Where a call is answered: at the producer or in the pool; completing it as if it had run.

The third site, the consumer, is in ``worker``.

May import ``lookup``, ``warming`` and what lies below them.
"""

"""A call and what is known of it: request, context, lookup result, hand-off, led keys.

May import ``config`` and ``patches``.
"""

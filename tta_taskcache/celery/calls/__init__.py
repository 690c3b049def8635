"""A call and what is known of it: request, context, lookup result, hand-off, remembered failure.

May import ``config`` and ``patches``.
"""

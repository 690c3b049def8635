"""A call and what is known of it: request, context, status, hand-off, remembered failures.

May import ``config`` and ``patches``.
"""

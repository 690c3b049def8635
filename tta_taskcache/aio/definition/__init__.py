"""What a primitive is made of: the wrapped callable, its context, options, keys and runtime.

May import what lies below ``aio``.
"""

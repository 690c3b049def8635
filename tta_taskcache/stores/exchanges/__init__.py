"""What is said to Redis, free of I/O: the layout of keys, the Lua scripts, commands and replies.

May import ``stores.protocol`` and ``core``.
"""

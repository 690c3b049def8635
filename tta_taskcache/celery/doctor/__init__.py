"""The doctor: facts about a cache, and findings made of them; no I/O.

May import ``config`` and ``patches``.
"""

"""Judgements on a cache's health, made of facts; no I/O.

May import ``config`` and ``patches``.
"""

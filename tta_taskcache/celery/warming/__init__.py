"""Warming: making the calls of a task ahead of demand, once or on schedule.

May import ``calls`` and what lies below it.
"""

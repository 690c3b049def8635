"""Hooks over the frozen records of ``core.events``: counters and logs."""

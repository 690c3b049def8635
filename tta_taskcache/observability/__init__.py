"""Observers of the events of ``core.events``: counters, logs, and metrics for Prometheus.

May import ``core`` only.
"""

"""Metrics for Prometheus: the families, the measurements, and the numbers behind them.

May import ``observability`` and ``core``.
"""

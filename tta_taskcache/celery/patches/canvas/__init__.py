"""Patches of the canvas: applying a group, and the bodies of ``celery.map`` and ``starmap``.

May import what lies below ``celery``.
"""

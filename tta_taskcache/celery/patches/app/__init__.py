"""Patches of the app: its task decorator, publishing, current app, settings, remote control.

May import what lies below ``celery``.
"""

"""Settings, task options, serializers, and the runtime that they configure.

May import ``patches``.
"""

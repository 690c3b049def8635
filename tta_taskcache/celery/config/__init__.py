"""Settings, task options, serializers, and the cache of a process that is made of them.

May import ``patches``.
"""

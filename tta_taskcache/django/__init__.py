"""The Django app ``tta_taskcache.django``: with it, ``manage.py check`` checks the cache.

Nothing else needs it to be in ``INSTALLED_APPS``.
"""

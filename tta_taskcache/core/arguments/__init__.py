"""Arguments of a call: bound to a signature, canonical, in templates, as people write them.

May import ``errors``.
"""

"""What identifies a call: its key, and the traits that tell in what two calls differ.

May import ``options``, ``arguments`` and ``semantic``.
"""

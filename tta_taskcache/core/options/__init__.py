"""The options of a task: what each may be, and the policy that they make.

May import ``arguments``, ``semantic`` and ``errors``.
"""

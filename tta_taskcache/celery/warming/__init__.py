"""Making the calls of a task before anybody asks for them.

May import ``calls`` and what lies below it.
"""

"""Finding the answer to a call, or running it and storing what it returns.

May import ``calls`` and what lies below it.
"""

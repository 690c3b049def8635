"""Groups, chords, maps: the calls that a signature makes, looked up together.

May import ``sites`` and what lies below it.
"""

"""A process and its apps as a whole: installation of the patches, isolation of tests, diagnosis.

May import ``api``.
"""

"""For tests of stores and of code that uses the cache."""

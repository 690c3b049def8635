"""Figures of ``cache stats``: of a task, of a day, and their plots in a terminal and on a page."""

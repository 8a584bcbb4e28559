"""``mer dashboard``: all runs and tables as pages for the browser, in one folder that works offline.

Every number is made here, in Python, by the functions that `mer train` and `mer table` use; the pages sort,
filter and draw. No torch, except to count the parameters of networks.
"""

from mer.dashboard.command import main

__all__ = ["main"]

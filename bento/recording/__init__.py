"""Recording predictions: a bounded spool on disk, shipped to the monitor in segments."""

"""Where a table comes from: files, SQL, or Python code."""

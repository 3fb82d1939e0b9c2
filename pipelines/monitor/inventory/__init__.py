"""Which models are released and how they run, read from Git or from the API server."""

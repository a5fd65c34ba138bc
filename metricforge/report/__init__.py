"""Charts, pictures and tables of results."""

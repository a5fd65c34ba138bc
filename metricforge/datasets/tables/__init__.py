"""Images listed in a table: CSV, Parquet, and a string column that fits in memory."""

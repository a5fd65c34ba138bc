"""Images in local or remote tar shards, found by offset."""

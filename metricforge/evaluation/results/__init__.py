"""What an evaluation records: per-query and per-class scores, the scores file and its protocol."""

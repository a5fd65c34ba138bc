"""What a run writes and shows: checkpoints, history, losses, progress."""

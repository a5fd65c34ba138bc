"""What happens between steps and epochs: baselines, checkpoints, the console, the embedding bank."""

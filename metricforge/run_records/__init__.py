"""What lies in a run's folder and is read without PyTorch: its history, the lock on it, names of its checkpoints."""

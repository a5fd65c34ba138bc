"""After training: which weights, and which layer, become the model; chosen on validation classes."""

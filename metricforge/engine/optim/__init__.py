"""How an optimizer steps: parameter groups, autocast, rows with sparse gradients."""

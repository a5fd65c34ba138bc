"""What a report says of runs: opens them, embeds their test images again, and gathers what is worth a look."""

"""Training runs: the trainer, checkpoints, budgets, held-out views, the metrics log."""

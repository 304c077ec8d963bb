"""Tab Distill: settings, runs, and how they go."""

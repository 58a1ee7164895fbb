"""Many scenarios as one dataset: axes, design, layout, store, jobs, contrasts."""

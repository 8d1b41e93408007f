"""What `faults.py` does to runs, models and inputs: one module per kind, each with `run(count, seed, folder)`."""

"""What streamkit costs, measured beside its peers and a floor: ``python -m benchmarks``."""

"""What mlops-blueprint runs on: one Platform contract, four clouds."""

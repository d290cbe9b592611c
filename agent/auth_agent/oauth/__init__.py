"""What is said to providers, and what their answers mean."""

"""What is sent to providers, and what their responses mean."""

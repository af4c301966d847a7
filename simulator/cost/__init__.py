"""What an operation costs: seconds and bytes, as arithmetic on numbers."""

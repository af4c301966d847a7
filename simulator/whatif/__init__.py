"""What changes with the number of devices, with another plan, with another machine."""

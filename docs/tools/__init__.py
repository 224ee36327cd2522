"""What the documentation's build writes by itself."""

"""What a competition looks like, as PNG files."""

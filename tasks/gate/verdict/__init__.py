"""What a version must meet, and whether it does."""

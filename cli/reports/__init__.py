"""What comes in: reports, what can't be used of them, who sends them."""

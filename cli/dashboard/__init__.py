"""The pages and their report, and the processes that answer and decide for them."""

"""What is done about an edit that fails: its radius is shrunk, or it is taken out."""

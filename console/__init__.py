"""What every command of `melo` shares: the home it works in, output, progress, errors, signals."""

"""What a version is asked: suites of its own edits, of a folder, of the ledger, of recorded traffic."""

"""What is measured beside answers: fluency, consistency, perplexity; and how sure that is."""

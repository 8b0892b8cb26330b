"""What is known already: texts, samples, likelihoods and keys of probes."""

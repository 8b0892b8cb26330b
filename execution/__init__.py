"""What carries the steps: their context, leases, retries, progress, work folder, costs and servers."""

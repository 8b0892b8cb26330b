"""What a version is on disk and in MLflow, without torch: manifest, shard references, tags, routes.

Plain functions on files and JSON that import nothing of ours, so that engine, registry, service and
dashboards may share them.
"""

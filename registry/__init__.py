"""Everything said to MLflow: versions are logged, found, fetched and named by aliases here.

    store       what a run of the pipeline writes: experiments, models, versions, aliases
    runs        what the run of one job says
    lookup      what is asked by those who only read: service, dashboards
    fetching    the files of a version on a machine that does not have them
    relocation  what MLflow keeps of a home's place, put right after the home was moved

Nothing here opens a model, so torch is never imported. `fetching` imports no settings either, since
the model that MLflow itself loads uses it.
"""

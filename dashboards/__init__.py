"""Edit quality over time, to look at: Streamlit pages that read the ledger's copy and MLflow."""

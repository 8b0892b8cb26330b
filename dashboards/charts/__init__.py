"""Charts as Altair objects, a file a page; without Streamlit, so that a report can use them too."""

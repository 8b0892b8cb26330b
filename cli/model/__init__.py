"""The backbone that is edited, and questions to it."""

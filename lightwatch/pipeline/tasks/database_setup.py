"""initialize_database: done by the manager before any task runs."""

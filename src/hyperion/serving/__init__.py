"""The long-lived processes: supervisor and workers."""

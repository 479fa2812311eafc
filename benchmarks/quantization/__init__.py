"""What quantizing costs and saves on public models, against named references."""

"""Files, downloads, archives, prefetching: what knows nothing of detection."""

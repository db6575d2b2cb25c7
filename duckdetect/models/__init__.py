"""Base detectors behind two interfaces, one-stage and two-stage."""

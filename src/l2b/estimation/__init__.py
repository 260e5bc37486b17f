"""What lies behind the scikit-learn estimator: inputs, defaults, clean sets, selection."""

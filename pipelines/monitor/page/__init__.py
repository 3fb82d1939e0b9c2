"""The monitor's web page: every model's release, health, live quality, drift, labels and runs, as HTML and as JSON."""

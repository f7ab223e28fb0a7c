"""What features are worth: encoders, labelled data, kNN."""

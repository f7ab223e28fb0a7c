"""From bytes on disk to augmented views on the training device."""

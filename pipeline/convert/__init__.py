"""Conversion: any source to shards that others' readers take, planned first and written after."""

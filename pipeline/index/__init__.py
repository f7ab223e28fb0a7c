"""`swiftsiam index`: a manifest for shards that others have written, so that they can be used."""

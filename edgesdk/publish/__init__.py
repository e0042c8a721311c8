"""The release side: packing, signing and granting models."""

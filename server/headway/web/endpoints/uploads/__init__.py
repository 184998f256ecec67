"""Resumable uploads by the protocol tus 1.0 (https://tus.io/protocols/resumable-upload)."""

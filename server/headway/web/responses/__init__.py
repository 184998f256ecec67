"""Writing responses: JSON, files, headers, and responses that are cached as bytes.

What a response says belongs in `web.endpoints`; streams have a folder of their own.
"""

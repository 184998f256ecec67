"""`headway dev`: job types are loaded again when their files change, while the server runs."""

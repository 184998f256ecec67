PRAGMA incremental_vacuum(256)

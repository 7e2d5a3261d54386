//! Stores on disk: one RocksDB per partition directory.

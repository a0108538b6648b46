//! Whole configuration files.

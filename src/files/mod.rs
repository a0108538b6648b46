//! Static files: resolution without escapes, conditional requests and ranges.

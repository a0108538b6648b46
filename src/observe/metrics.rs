//! The closed list of metrics. Labels come from names in the file, never from a path, a host or an address of a client.

//! Tests over whole files and, where they need them, real sockets. One binary: it links once.

mod config;

//! Everything that is tested from outside: the file, scenarios over real sockets, the binary, the repository's habits.

mod config;
mod deploy;
mod limits;
mod scenario;
mod support;
mod tidy;

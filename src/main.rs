//! The `gateway` binary: see [`deals247_gateway::cli`].

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    deals247_gateway::cli::main(std::env::args_os())
}

//! What is in `deploy/`: held to what the gateway really does, by the programs that will read it.

mod files;
mod names;
mod prometheus;
mod rules;
mod runbooks;
mod strangers;

use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file below `deploy/`.
fn path(file: &str) -> PathBuf {
    root().join("deploy").join(file)
}

fn read(file: &str) -> String {
    std::fs::read_to_string(path(file)).expect(file)
}

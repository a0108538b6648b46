//! Any text is read as a configuration: nothing panics, and what loads can be printed and loads again.
#![no_main]

use std::path::Path;

use deals247_gateway::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let env = |name: &str| name.len().is_multiple_of(2).then(|| "3000".to_owned());
    let dir = Path::new("nowhere");
    match config::parse("gateway.toml", text, dir, &env) {
        Ok(loaded) => {
            let printed = config::print(&loaded);
            if let Err(report) = config::parse("printed.toml", &printed, dir, &env) {
                panic!("what was printed does not load:\n{printed}\n{report}");
            }
        }
        Err(report) => {
            assert!(report.errors() > 0);
            let _ = (report.render_text(true), report.render_json());
        }
    }
});

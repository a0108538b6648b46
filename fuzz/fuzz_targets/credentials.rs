//! Credentials and the files that know them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| deals247_gateway::fuzz::credentials(bytes));

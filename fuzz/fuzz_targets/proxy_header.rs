//! A header of the PROXY protocol.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| deals247_gateway::fuzz::proxy_header(bytes));

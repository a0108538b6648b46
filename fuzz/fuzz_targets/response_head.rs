//! The head of an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| deals247_gateway::fuzz::response_head(bytes));

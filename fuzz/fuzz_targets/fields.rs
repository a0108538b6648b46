//! Values of fields that say more than one thing.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| deals247_gateway::fuzz::fields(bytes));

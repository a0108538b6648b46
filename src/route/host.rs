//! stub
use std::borrow::Cow;
#[derive(Debug)]
pub struct HostError;
pub fn normalise_host(_raw: &str) -> Result<(Cow<'_, str>, Option<u16>), HostError> { unimplemented!() }

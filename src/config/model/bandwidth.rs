//! `[bandwidth.NAME]`

use std::sync::Arc;

use crate::limit::Source;
use crate::policy::AllowList;

/// `[bandwidth.NAME]`: how fast bodies may flow; at least one of the directions is bounded.
#[derive(Debug, Clone)]
pub struct Bandwidth {
    /// Its name.
    pub name: Arc<str>,
    /// Bytes of answers' bodies in a second.
    pub download: Option<u64>,
    /// Bytes of requests' bodies in a second.
    pub upload: Option<u64>,
    /// Bytes that flow before anything waits; `None`: those of a second.
    pub burst: Option<u64>,
    /// Who is counted together: at least one, none of them twice.
    pub key: Vec<Source>,
    /// IPv6 clients of one network of this prefix length are one client; 32 to 128.
    pub ipv6_prefix: u8,
    /// Who never waits.
    pub exempt: Option<AllowList>,
}

//! What Pingora asks of a stream besides reading and writing.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::tls::{ALPN, SslDigest, TlsRef};
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};

use super::Lane;

#[async_trait]
impl Shutdown for Lane {
    async fn shutdown(&mut self) {
        let _ = tokio::io::AsyncWriteExt::flush(self).await;
    }
}

impl UniqueID for Lane {
    fn id(&self) -> UniqueIDType {
        self.conn.as_ref().map_or(-1, |conn| conn.io.id())
    }
}

impl Ssl for Lane {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.conn.as_ref()?.io.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.conn.as_ref()?.io.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.conn.as_ref()?.io.selected_alpn_proto()
    }
}

impl GetTimingDigest for Lane {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new() // nobody reads it, and Pingora asks once for every request
    }
}

impl GetProxyDigest for Lane {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        None
    }
}

impl GetSocketDigest for Lane {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.conn.as_ref()?.io.get_socket_digest()
    }
}

impl Peek for Lane {}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("body", &self.body).finish_non_exhaustive()
    }
}

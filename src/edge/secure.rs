//! Handshakes within their limits: how long, how many at a time, how often.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pingora::protocols::Stream;

use super::caps::Caps;
use super::observer::Observer;
use super::tls::{self, Shaken};
use crate::config::units::Rate;
use crate::tls::Hosts;

/// How a handshake ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandshakeEnd {
    /// A new session.
    Full,
    /// A session was taken up again.
    Resumed,
    /// The client or the gateway gave up.
    Failed,
    /// It took too long.
    Timeout,
    /// There were too many at a time, or of one client.
    Refused,
}

/// What is said in handshakes, and within which limits.
#[derive(Debug, Clone)]
pub struct TlsRules {
    /// The certificates.
    pub hosts: Arc<Hosts>,
    /// A handshake must be complete within this time.
    pub timeout: Duration,
    /// Most handshakes at a time; of one client, half as many.
    pub most: usize,
    /// Most handshakes of one client in a time.
    pub rate: Option<Rate>,
}

/// The handshakes of all TLS listeners.
#[derive(Default)]
pub struct Secure {
    shaking: Arc<Caps>,
}

impl Secure {
    /// Speaks the handshake; `stranger`: the client, unless it is a trusted proxy. `None`: there is no connection any more.
    pub(super) async fn shake(
        &self,
        stream: Stream,
        stranger: Option<IpAddr>,
        observer: &impl Observer,
    ) -> Option<Shaken> {
        let rules = observer.tls()?;
        let admitted = self.shaking.admit(stranger, rules.most, rules.most.div_ceil(2));
        let paced = match (stranger, rules.rate) {
            (Some(ip), Some(rate)) => self.shaking.arrive(ip, rate).is_ok(),
            _ => true,
        };
        let (Ok(_place), true) = (admitted, paced) else {
            observer.shaken(HandshakeEnd::Refused);
            return None;
        };
        let _shaking = observer.shaking();
        let (end, shaken) = match tokio::time::timeout(rules.timeout, tls::shake(stream, &rules.hosts, observer)).await
        {
            Err(_) => (HandshakeEnd::Timeout, None),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                (HandshakeEnd::Failed, None)
            }
            Ok(Ok(Some(shaken))) if shaken.resumed => (HandshakeEnd::Resumed, Some(shaken)),
            Ok(Ok(shaken)) => (HandshakeEnd::Full, shaken),
        };
        observer.shaken(end);
        shaken
    }
}

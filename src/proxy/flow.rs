//! Bandwidth: how long a part of a body waits.

use std::time::Duration;

use http::request;

use super::Exchange;
use crate::limit::Asker;

impl Exchange {
    /// Joins the flows that the request belongs to, once it is known to be admitted.
    pub(super) fn join_flows(&mut self, request: &request::Parts) {
        let Some(route) = &self.route else { return };
        let Some(bandwidth) = &route.bandwidth else { return };
        self.flows = bandwidth.flows(&Asker {
            client: self.client.ip,
            method: &request.method,
            headers: &request.headers,
            query: request.uri.query(),
            route: &route.name,
            host: &self.host,
        });
    }

    /// How long so many bytes of the answer's body wait before they are sent; `None`: they do not.
    pub(super) fn delay_download(&self, bytes: usize) -> Option<Duration> {
        let flows = self.flows.as_ref().filter(|_| bytes > 0)?;
        let wait = flows.download(bytes, self.live.registry.started.elapsed());
        (!wait.is_zero()).then_some(wait)
    }

    /// Waits until so many bytes may be sent, where Pingora does not.
    pub(super) async fn slow_down(&self, bytes: usize) {
        if let Some(wait) = self.delay_download(bytes) {
            tokio::time::sleep(wait).await;
        }
    }

    /// How long the client's next bytes are waited for after so many of them; `None`: they may come.
    pub(super) fn delay_upload(&self, bytes: usize) -> Option<Duration> {
        let flows = self.flows.as_ref().filter(|_| bytes > 0)?;
        let wait = flows.upload(bytes, self.live.registry.started.elapsed());
        (!wait.is_zero()).then_some(wait)
    }
}

//! What happened, told once: counters and the log line.

use std::time::{Duration, SystemTime};

use http::{StatusCode, header, request};

use super::Exchange;
use crate::observe::access_log::Entry;

impl Exchange {
    /// Counts and logs the exchange: how it was answered, the bytes both ways.
    pub(super) fn conclude(&mut self, request: &request::Parts, status: StatusCode, bytes_in: u64, bytes_out: u64) {
        if std::mem::replace(&mut self.concluded, true) {
            return;
        }
        let duration = self
            .arrival
            .as_ref()
            .map_or_else(Duration::default, |arrival| arrival.started.elapsed());
        let metrics = self
            .route
            .as_ref()
            .map_or(&self.snapshot.no_route, |route| &route.metrics);
        metrics.record(&request.method, status, duration, bytes_in, bytes_out);
        if let Some(reason) = self.refusal {
            self.live.registry.metrics.refused(reason);
        }
        self.tell(request, status, (bytes_in, bytes_out));
        self.log(request, status, duration, bytes_in, bytes_out);
    }

    fn log(&self, request: &request::Parts, status: StatusCode, duration: Duration, bytes_in: u64, bytes_out: u64) {
        let Some(sink) = &self.snapshot.access_log else { return };
        if self.route.as_ref().is_some_and(|route| !route.access_log) {
            return;
        }
        let field = |name| request.headers.get(name).map(http::HeaderValue::as_bytes);
        let held = self.attempt.lease.as_ref().map(|lease| lease.endpoint().server());
        let server = held.or(self.attempt.served_by.as_ref());
        sink.log.write(
            &sink.format,
            &sink.redact,
            &Entry {
                time: SystemTime::now(),
                request_id: self.request_id(),
                trace_id: self.identity.as_ref().map(|identity| identity.trace_id()),
                client: self.client.ip,
                route: self.route.as_ref().map(|route| &*route.name),
                method: request.method.as_str(),
                host: Some(self.host.as_bytes()),
                path: request.uri.path().as_bytes(),
                query: request.uri.query().map(str::as_bytes),
                version: request.version,
                status: status.as_u16(),
                bytes_in,
                bytes_out,
                duration,
                upstream: self.upstream().map(|upstream| &*upstream.name),
                server: server.map(|server| &**server),
                upstream_time: self.attempt.first_byte,
                attempts: self.attempt.count,
                cache: self.cache_status.map(|status| status.verdict().word()),
                limit: self.limited.word(),
                refusal: self.refusal.map(crate::answer::Reason::word),
                tls: self.secured.as_ref().map(|secured| secured.version),
                user_agent: field(header::USER_AGENT),
                referer: field(header::REFERER),
                headers: Some(&request.headers),
            },
        );
    }
}

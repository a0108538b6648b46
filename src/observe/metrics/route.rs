//! What is counted of a route.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::{Method, StatusCode};
use parking_lot::Mutex;
use prometheus::{Histogram, IntCounter, IntGauge, Registry};

use super::{InFlight, catalogue};

/// The closed list of the `method` label: what a client may invent is `other`.
const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other"];

/// The closed list of the `status` label.
const CLASSES: [&str; 6] = ["1xx", "2xx", "3xx", "4xx", "5xx", "other"];

/// Handles to the metrics of one route; cheap to clone.
#[derive(Debug, Clone)]
pub struct RouteMetrics(Arc<Handles>);

#[derive(Debug)]
struct Handles {
    registry: Registry,
    name: Box<str>,
    /// Made when first needed: most routes see three of these 48.
    requests: [[OnceLock<IntCounter>; CLASSES.len()]; METHODS.len()],
    /// Whether they are still shown. Held while one is made, so that none is shown that nobody takes off the page.
    shown: Mutex<bool>,
    duration: Histogram,
    in_flight: IntGauge,
    bytes_in: IntCounter,
    bytes_out: IntCounter,
}

impl RouteMetrics {
    pub(super) fn new(registry: &Registry, name: &str) -> Self {
        Self(Arc::new(Handles {
            registry: registry.clone(),
            name: name.into(),
            requests: [const { [const { OnceLock::new() }; CLASSES.len()] }; METHODS.len()],
            shown: Mutex::new(true),
            duration: catalogue::REQUEST_DURATION.histogram(registry, &[name]),
            in_flight: catalogue::REQUESTS_IN_FLIGHT.gauge(registry, &[name]),
            bytes_in: catalogue::REQUEST_BYTES.counter(registry, &[name]),
            bytes_out: catalogue::RESPONSE_BYTES.counter(registry, &[name]),
        }))
    }

    /// A request is being served for as long as the answer of this is held.
    pub fn in_flight(&self) -> InFlight {
        InFlight::begin(&self.0.in_flight)
    }

    /// Counts a request that is over.
    pub fn record(&self, method: &Method, status: StatusCode, duration: Duration, bytes_in: u64, bytes_out: u64) {
        let handles = &*self.0;
        let (method, class) = (method_index(method), class_index(status));
        match handles.requests[method][class].get() {
            Some(counter) => counter.inc(),
            None => self.first(method, class),
        }
        handles.duration.observe(duration.as_secs_f64());
        handles.bytes_in.inc_by(bytes_in);
        handles.bytes_out.inc_by(bytes_out);
    }
}

impl RouteMetrics {
    /// Counts the first request of its kind; where the route is no longer shown, nowhere.
    fn first(&self, method: usize, class: usize) {
        let handles = &*self.0;
        let shown = handles.shown.lock();
        if *shown {
            let labels = [&*handles.name, METHODS[method], CLASSES[class]];
            let make = || catalogue::REQUESTS.counter(&handles.registry, &labels);
            handles.requests[method][class].get_or_init(make).inc();
        }
    }

    /// Answers given so far, and how many of them had a status of 5xx.
    pub(super) fn answers(&self) -> (u64, u64) {
        const FAILED: usize = 4;
        let mut sum = (0, 0);
        for method in &self.0.requests {
            for (class, counter) in method.iter().enumerate() {
                let count = counter.get().map_or(0, IntCounter::get);
                sum.0 += count;
                sum.1 += if class == FAILED { count } else { 0 };
            }
        }
        sum
    }

    pub(super) fn unregister(&self, registry: &Registry) {
        let Handles {
            registry: _,
            name: _,
            requests,
            shown,
            duration,
            in_flight,
            bytes_in,
            bytes_out,
        } = &*self.0;
        let mut shown = shown.lock();
        *shown = false;
        let made = requests.iter().flatten().filter_map(OnceLock::get);
        for counter in [bytes_in, bytes_out].into_iter().chain(made) {
            catalogue::unregister(registry, counter.clone());
        }
        catalogue::unregister(registry, duration.clone());
        catalogue::unregister(registry, in_flight.clone());
    }
}

fn method_index(method: &Method) -> usize {
    match *method {
        Method::GET => 0,
        Method::HEAD => 1,
        Method::POST => 2,
        Method::PUT => 3,
        Method::PATCH => 4,
        Method::DELETE => 5,
        Method::OPTIONS => 6,
        _ => METHODS.len() - 1,
    }
}

fn class_index(status: StatusCode) -> usize {
    match status.as_u16() / 100 {
        class @ 1..=5 => usize::from(class) - 1,
        _ => CLASSES.len() - 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::*;

    #[test]
    fn labels_come_from_closed_lists() {
        for (method, label) in [
            ("GET", "GET"),
            ("HEAD", "HEAD"),
            ("POST", "POST"),
            ("PUT", "PUT"),
            ("PATCH", "PATCH"),
            ("DELETE", "DELETE"),
            ("OPTIONS", "OPTIONS"),
            ("TRACE", "other"),
            ("get", "other"),
            ("BREW", "other"),
        ] {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            assert_eq!(METHODS[method_index(&method)], label, "{method}");
        }
        for (status, label) in [
            (100, "1xx"),
            (101, "1xx"),
            (200, "2xx"),
            (399, "3xx"),
            (429, "4xx"),
            (504, "5xx"),
            (600, "other"),
            (999, "other"),
        ] {
            assert_eq!(CLASSES[class_index(StatusCode::from_u16(status).unwrap())], label);
        }
    }

    #[test]
    fn a_guard_counts_once() {
        let metrics = Metrics::new();
        let route = metrics.route("api");
        let guards = [route.in_flight(), route.clone().in_flight()];
        assert!(
            metrics
                .render()
                .contains("gateway_requests_in_flight{route=\"api\"} 2\n")
        );
        drop(guards);
        assert!(
            metrics
                .render()
                .contains("gateway_requests_in_flight{route=\"api\"} 0\n")
        );
    }

    #[test]
    fn only_seen_combinations_are_shown() {
        let metrics = Metrics::new();
        let route = metrics.route("api");
        assert!(!metrics.render().contains("gateway_requests_total"));
        for _ in 0..3 {
            route.record(&Method::POST, StatusCode::CREATED, Duration::ZERO, 1, 2);
        }
        let page = metrics.render();
        assert_eq!(page.matches("gateway_requests_total{").count(), 1, "{page}");
        assert!(page.contains("gateway_requests_total{method=\"POST\",route=\"api\",status=\"2xx\"} 3\n"));
    }
}

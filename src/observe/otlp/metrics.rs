//! What `/metrics` shows, as `ExportMetricsServiceRequest`: the same names, the same labels.

use std::time::SystemTime;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::metrics::v1 as otlp;
use prometheus::proto::{Metric, MetricFamily, MetricType};

use super::{Resource, SCHEMA, attribute, nanoseconds, scope};

/// The message that tells of these metrics; counts began at `started`.
#[must_use]
pub fn metrics(
    resource: &Resource,
    families: &[MetricFamily],
    started: SystemTime,
    now: SystemTime,
) -> ExportMetricsServiceRequest {
    let since = (nanoseconds(started), nanoseconds(now));
    ExportMetricsServiceRequest {
        resource_metrics: vec![otlp::ResourceMetrics {
            resource: Some(resource.0.clone()),
            scope_metrics: vec![otlp::ScopeMetrics {
                scope: Some(scope()),
                metrics: families.iter().filter_map(|family| metric(family, since)).collect(),
                schema_url: SCHEMA.to_owned(),
            }],
            schema_url: SCHEMA.to_owned(),
        }],
    }
}

fn metric(family: &MetricFamily, since: (u64, u64)) -> Option<otlp::Metric> {
    let samples = family.get_metric();
    let cumulative = otlp::AggregationTemporality::Cumulative as i32;
    let data = match family.get_field_type() {
        MetricType::COUNTER => otlp::metric::Data::Sum(otlp::Sum {
            data_points: (samples.iter())
                .map(|sample| number(sample, sample.get_counter().get_value(), since))
                .collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        MetricType::GAUGE => otlp::metric::Data::Gauge(otlp::Gauge {
            data_points: (samples.iter())
                .map(|sample| number(sample, sample.get_gauge().get_value(), (0, since.1)))
                .collect(),
        }),
        MetricType::HISTOGRAM => otlp::metric::Data::Histogram(otlp::Histogram {
            data_points: samples.iter().map(|sample| histogram(sample, since)).collect(),
            aggregation_temporality: cumulative,
        }),
        // The catalogue has none of these.
        MetricType::SUMMARY | MetricType::UNTYPED => return None,
    };
    Some(otlp::Metric {
        name: family.name().to_owned(),
        description: family.help().to_owned(),
        unit: unit(family.name()).to_owned(),
        data: Some(data),
        ..Default::default()
    })
}

/// As UCUM has it.
fn unit(name: &str) -> &'static str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    match name.rsplit('_').next() {
        Some("seconds") => "s",
        Some("bytes") => "By",
        _ => "1",
    }
}

fn number(sample: &Metric, value: f64, (started, now): (u64, u64)) -> otlp::NumberDataPoint {
    otlp::NumberDataPoint {
        attributes: labels(sample),
        start_time_unix_nano: started,
        time_unix_nano: now,
        value: Some(otlp::number_data_point::Value::AsDouble(value)),
        ..Default::default()
    }
}

fn histogram(sample: &Metric, (started, now): (u64, u64)) -> otlp::HistogramDataPoint {
    let histogram = sample.get_histogram();
    let buckets = histogram.get_bucket();
    let finite = || buckets.iter().filter(|bucket| bucket.upper_bound().is_finite());
    let mut below = 0;
    // Each bucket counts what is in it alone, and one more what is above all of them.
    let mut counts: Vec<u64> = finite()
        .map(|bucket| bucket.cumulative_count() - std::mem::replace(&mut below, bucket.cumulative_count()))
        .collect();
    let count = histogram.get_sample_count();
    counts.push(count.saturating_sub(below));
    otlp::HistogramDataPoint {
        attributes: labels(sample),
        start_time_unix_nano: started,
        time_unix_nano: now,
        count: counts.iter().sum(),
        sum: Some(histogram.get_sample_sum()),
        bucket_counts: counts,
        explicit_bounds: finite().map(|bucket| bucket.upper_bound()).collect(),
        ..Default::default()
    }
}

fn labels(sample: &Metric) -> Vec<KeyValue> {
    let labels = sample.get_label().iter();
    labels.map(|label| attribute(label.name(), label.value())).collect()
}

#[cfg(test)]
mod tests {
    use prometheus::{Histogram, HistogramOpts, IntCounter, IntGauge, Opts, Registry};

    use super::*;

    #[test]
    fn what_is_shown_is_told() {
        let registry = Registry::new();
        let counter = IntCounter::with_opts(Opts::new("a_bytes_total", "Bytes.").const_label("route", "api")).unwrap();
        let gauge = IntGauge::new("b", "Now.").unwrap();
        let histogram = Histogram::with_opts(HistogramOpts::new("c_seconds", "Time.").buckets(vec![0.1, 1.0])).unwrap();
        registry.register(Box::new(counter.clone())).unwrap();
        registry.register(Box::new(gauge.clone())).unwrap();
        registry.register(Box::new(histogram.clone())).unwrap();
        counter.inc_by(7);
        gauge.set(-3);
        for seconds in [0.05, 0.5, 0.5, 5.0] {
            histogram.observe(seconds);
        }
        let told = metrics(
            &Resource::new([("service.name", "x")]),
            &registry.gather(),
            SystemTime::UNIX_EPOCH,
            SystemTime::UNIX_EPOCH,
        );
        let all = &told.resource_metrics[0].scope_metrics[0].metrics;
        let names: Vec<_> = all.iter().map(|metric| (&*metric.name, &*metric.unit)).collect();
        assert_eq!(names, [("a_bytes_total", "By"), ("b", "1"), ("c_seconds", "s")]);
        let Some(otlp::metric::Data::Sum(sum)) = &all[0].data else {
            panic!("{:?}", all[0])
        };
        assert!(sum.is_monotonic);
        assert_eq!(sum.data_points[0].attributes, [attribute("route", "api")]);
        assert_eq!(
            sum.data_points[0].value,
            Some(otlp::number_data_point::Value::AsDouble(7.0))
        );
        let Some(otlp::metric::Data::Histogram(told)) = &all[2].data else {
            panic!("{:?}", all[2])
        };
        let point = &told.data_points[0];
        assert_eq!(
            (point.count, &point.bucket_counts[..], &point.explicit_bounds[..]),
            (4, &[1, 2, 1][..], &[0.1, 1.0][..])
        );
        assert_eq!(point.sum, Some(6.05));
    }
}

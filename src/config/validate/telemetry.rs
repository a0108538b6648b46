//! `[telemetry]`

use std::time::Duration;

use super::Checker;
use crate::config::diagnostic::Span;
use crate::config::file;
use crate::config::file::telemetry::{OtlpProtocol, Propagation};
use crate::config::model::{self, Form, Telemetry};
use crate::config::value::Spanned;

/// Who sends more often costs more than what is learnt from it.
const OFTEN: Duration = Duration::from_millis(100);

/// The fields of traces, and who is told of them; `None`: nobody, or something of it is wrong and has been reported.
pub(super) fn telemetry(
    table: &Spanned<file::telemetry::Telemetry>,
    checker: &mut Checker<'_>,
) -> (Vec<Form>, Option<Telemetry>) {
    let file::telemetry::Telemetry {
        endpoint,
        protocol,
        headers,
        ca,
        traces,
        metrics,
        sample,
        propagation,
        service,
        attributes,
        interval,
        timeout,
    } = &table.value;
    let mut forms = Vec::new();
    for form in &propagation.0 {
        let meant = match form.value {
            Propagation::W3c => Form::W3c,
            Propagation::B3 => Form::B3,
        };
        if forms.contains(&meant) {
            checker.error(form.span, "this is there twice", "remove one of them".to_owned());
        }
        forms.push(meant);
    }
    let Some(endpoint) = endpoint.given() else {
        if endpoint.is_absent() {
            let given: [(&str, bool, Span); 10] = [
                ("protocol", protocol.given, protocol.span),
                ("headers", headers.given, headers.span),
                ("ca", !ca.is_absent(), ca.given().map_or(table.span, |ca| ca.span)),
                ("traces", traces.given, traces.span),
                ("metrics", metrics.given, metrics.span),
                ("sample", sample.given, sample.span),
                ("service", service.given, service.span),
                ("attributes", attributes.given, attributes.span),
                ("interval", interval.given, interval.span),
                ("timeout", timeout.given, timeout.span),
            ];
            for (key, _, span) in given.into_iter().filter(|(_, given, _)| *given) {
                let help = "add `endpoint = \"http://127.0.0.1:4318\"`, or remove it".to_owned();
                checker.error(span, format!("`{key}` says nothing without `endpoint`"), help);
            }
        }
        return (forms, None);
    };
    if interval.value.value.0 < OFTEN {
        let help = "write `\"1s\"` or more: a collector need not be told so often".to_owned();
        checker.error(interval.span, "`interval` is below `100ms`", help);
    }
    if !traces.value && !metrics.value {
        let help = "remove one of them, or `endpoint`".to_owned();
        checker.error(
            endpoint.span,
            "with `traces = false` and `metrics = false` nothing is sent",
            help,
        );
    }
    if !traces.value && sample.given {
        checker.error(
            sample.span,
            "`sample` says nothing with `traces = false`",
            "remove one of them".to_owned(),
        );
    }
    let url = &endpoint.value.value.0;
    if url
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        checker.report.conceal(endpoint.span);
        let help = "send them in `headers`: `{ authorization = \"Basic ${OTLP_CREDENTIALS}\" }`".to_owned();
        checker.error(
            endpoint.span,
            "the URL of a collector holds no user and no password",
            help,
        );
    }
    if url.scheme_str() == Some("http") && !ca.is_absent() {
        let span = ca.given().map_or(endpoint.span, |ca| ca.span);
        checker.error(
            span,
            "`ca` goes with `https` only",
            "remove it, or write `https://` in `endpoint`".to_owned(),
        );
    }
    if protocol.value == OtlpProtocol::Grpc && !matches!(url.path(), "" | "/") {
        let help = "leave out the path: with gRPC it names what is called".to_owned();
        checker.error(
            endpoint.span,
            "`endpoint` has a path, and the collector speaks gRPC",
            help,
        );
    }
    for (index, (name, _)) in headers.0.iter().enumerate() {
        let earlier = &headers.0[..index];
        if earlier
            .iter()
            .any(|(other, _)| other.value.value.0 == name.value.value.0)
        {
            let help = "upper and lower case are the same".to_owned();
            checker.error(name.span, format!("`{}` is there twice", name.value.text), help);
        }
    }
    let own = ("service.name".into(), service.value.text.as_str().into());
    let others = attributes.0.iter();
    let others = others.map(|(name, value)| (name.value.text.as_str().into(), value.value.text.as_str().into()));
    let telemetry = Telemetry {
        endpoint: url.clone(),
        protocol: match protocol.value {
            OtlpProtocol::Http => model::OtlpProtocol::Http,
            OtlpProtocol::Grpc => model::OtlpProtocol::Grpc,
        },
        headers: (headers.0.iter())
            .map(|(name, value)| (name.value.value.0.clone(), value.value.text.clone()))
            .collect(),
        ca: super::upstream_tls::readable(ca, checker),
        sample: traces.value.then_some(sample.value.value.0),
        metrics: metrics.value,
        resource: std::iter::once(own).chain(others).collect(),
        interval: interval.value.value.0,
        timeout: timeout.value.value.0,
    };
    (forms, Some(telemetry))
}

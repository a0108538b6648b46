//! The smaller tables: logs, and the policies that routes name.

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue};

use super::{Checker, count, small};
use crate::config::diagnostic::{Diagnostic, Span};
use crate::config::file;
use crate::config::file::http::FieldName;
use crate::config::file::log::LogFormat;
use crate::config::file::rotate::Every;
use crate::config::model::{AccessLog, Dns, Log, LogFile, LogTarget};
use crate::config::named::Pairs;
use crate::config::text::Written;
use crate::observe::access_log::Redaction;
use crate::observe::rotation::{Period, Rotation};
use crate::policy::HeaderPolicy;

pub(super) fn log(log: &file::log::Log, access_log: &file::access_log::AccessLog, checker: &mut Checker<'_>) -> Log {
    let file::log::Log {
        level,
        format,
        path,
        error_path,
        rotate,
    } = log;
    if path.text.is_empty() {
        let help = "`\"-\"` is standard error; `level = \"off\"` switches it off".to_owned();
        checker.error(path.span, "`path` names no file", help);
    }
    let error_path = error_path.given();
    if let Some(errors) = error_path
        && (["", "-"].contains(&errors.value.text.as_str()) || errors.value.text == path.text)
    {
        let help = "leave it out: errors stand in `path`, too".to_owned();
        checker.error(errors.span, "`error_path` names no file of its own", help);
    }
    let requests = &access_log.path;
    if access_log.enabled.value && requests.text != "-" {
        let taken = checker.path(&requests.text);
        let errors = error_path.map(|errors| ("error_path", errors.span, &errors.value.text));
        for (key, span, text) in [("path", path.span, &path.text)].into_iter().chain(errors) {
            if text != "-" && checker.path(text) == taken {
                let message = format!("`{key}` of `[log]` is the file of the access log");
                let help = "give each a file of its own: both would write and rotate it".to_owned();
                let fault = Diagnostic::error(span, message).help(help);
                checker.report.push(fault.also(requests.span, "the access log"));
            }
        }
    }
    if let Some(rotate) = rotate.given()
        && path.text == "-"
        && error_path.is_none()
    {
        let help = "give the log a `path`, or leave `rotate` to whoever reads standard error".to_owned();
        checker.error(rotate.span, "standard error cannot be rotated", help);
    }
    let rotation = rotate
        .given()
        .map(|rotate| rotation(rotate.span, &rotate.value, checker));
    let file = |path: &str| LogFile {
        path: checker.dir.join(path),
        rotation: rotation.clone(),
    };
    Log {
        level: level.text.clone(),
        json: format.value == LogFormat::Json,
        file: (path.text != "-").then(|| file(&path.text)),
        errors: error_path.map(|path| file(&path.value.text)),
    }
}

pub(super) fn access_log(log: &file::access_log::AccessLog, checker: &mut Checker<'_>) -> Option<AccessLog> {
    let file::access_log::AccessLog {
        enabled,
        path,
        rotate,
        format,
        redact,
    } = log;
    let mut redaction = Redaction::default();
    for entry in &redact.0 {
        if let Err(message) = redaction.add(&entry.text) {
            checker.error(entry.span, message, None);
        }
    }
    if path.text.is_empty() {
        checker.error(
            path.span,
            "`path` names no file",
            "`\"-\"` is standard output; `enabled = false` switches it off".to_owned(),
        );
    }
    if let Some(rotate) = rotate.given()
        && path.text == "-"
    {
        let help = "give the log a `path`, or leave `rotate` to whoever reads standard output".to_owned();
        checker.error(rotate.span, "standard output cannot be rotated", help);
    }
    let rotation = rotate
        .given()
        .map(|rotate| rotation(rotate.span, &rotate.value, checker));
    let target = match (path.text.as_str(), rotation) {
        ("-", _) => LogTarget::Stdout,
        (path, None) => LogTarget::File(checker.dir.join(path)),
        (path, Some(rotation)) => LogTarget::Rotated(checker.dir.join(path), rotation),
    };
    enabled.value.then(|| AccessLog {
        target,
        format: format.value.value.clone(),
        redact: redaction,
    })
}

pub(super) fn rotation(span: Span, rotate: &file::rotate::Rotate, checker: &mut Checker<'_>) -> Rotation {
    let file::rotate::Rotate {
        size,
        every,
        keep,
        compress,
    } = rotate;
    let size = size.given().map(|size| size.value.value.0);
    let every = every.given().map(|every| match every.value {
        Every::Day => Period::Day,
        Every::Hour => Period::Hour,
    });
    if size.is_none() && every.is_none() {
        let help = "write `rotate = { size = \"100MB\" }` or `rotate = { every = \"day\" }`, or both".to_owned();
        checker.error(span, "`rotate` says neither when nor at what size", help);
    }
    Rotation {
        size,
        every,
        keep: count(keep.value.0),
        compress: compress.value,
    }
}

pub(super) fn dns(dns: &file::dns::Dns, checker: &mut Checker<'_>) -> Dns {
    let file::dns::Dns {
        servers,
        timeout,
        attempts,
        min_ttl,
        max_ttl,
    } = dns;
    let mut asked = Vec::new();
    for server in servers.given().into_iter().flat_map(|servers| &servers.value.0) {
        if asked.contains(&server.value.value.0) {
            let help = "`attempts` says how often each of them is asked: remove one".to_owned();
            checker.error(server.span, format!("`{}` is there twice", server.text), help);
        }
        asked.push(server.value.value.0);
    }
    if min_ttl.value.value.0 > max_ttl.value.value.0 {
        let span = if min_ttl.given { min_ttl.span } else { max_ttl.span };
        checker.error(
            span,
            format!("`min_ttl` ({}) is above `max_ttl` ({})", min_ttl.text, max_ttl.text),
            "an answer is kept for a time between the two: lower the one or raise the other".to_owned(),
        );
    }
    Dns {
        servers: asked,
        timeout: timeout.value.value.0,
        attempts: small(attempts.0),
        min_ttl: min_ttl.value.value.0,
        max_ttl: max_ttl.value.value.0,
    }
}

pub(super) fn headers(headers: &file::headers::Headers, checker: &mut Checker<'_>) -> Arc<HeaderPolicy> {
    let file::headers::Headers {
        preset,
        content_security_policy,
        set,
        append,
        remove,
    } = headers;
    names(set, "set", checker);
    names(append, "append", checker);
    for removed in &remove.0 {
        let clash = set
            .0
            .iter()
            .find(|(name, _)| name.value.value.0 == removed.value.value.0);
        if let Some((name, _)) = clash {
            checker.error(
                removed.span,
                format!("`{}` is both set and removed", removed.text),
                format!("`set` replaces every `{}` already: leave it out of `remove`", name.text),
            );
        }
    }
    for (name, _) in &append.0 {
        if set.0.iter().any(|(other, _)| other.value.value.0 == name.value.value.0) {
            checker.error(
                name.span,
                format!("`{}` is both set and appended", name.text),
                "give all its values in `append`, or one in `set`".to_owned(),
            );
        }
    }
    let pair = |name: &Written<FieldName>, value: &Written<HeaderValue>| (name.value.0.clone(), value.value.clone());
    Arc::new(HeaderPolicy {
        preset: preset.value.into(),
        content_security_policy: content_security_policy
            .given()
            .map(|policy| policy.value.value.0.clone()),
        set: set
            .0
            .iter()
            .map(|(name, value)| pair(&name.value, &value.value))
            .collect(),
        append: append
            .0
            .iter()
            .flat_map(|(name, values)| values.value.0.iter().map(move |value| pair(&name.value, &value.value)))
            .collect(),
        remove: remove.0.iter().map(|name| name.value.value.0.clone()).collect(),
    })
}

/// Names that differ in case only are one name; the security policy has a key of its own.
fn names<V>(pairs: &Pairs<FieldName, V>, key: &str, checker: &mut Checker<'_>) {
    let mut seen: Vec<&HeaderName> = Vec::new();
    for (name, _) in &pairs.0 {
        let FieldName(field) = &name.value.value;
        if *field == ::http::header::CONTENT_SECURITY_POLICY {
            checker.error(
                name.span,
                format!("`{}` does not belong into `{key}`", name.text),
                "write `content_security_policy = \"…\"`: so there are never two policies".to_owned(),
            );
        }
        if seen.contains(&field) {
            checker.error(
                name.span,
                format!("`{}` is there twice", name.text),
                "upper and lower case are the same".to_owned(),
            );
        }
        seen.push(field);
    }
}

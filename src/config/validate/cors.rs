//! `[cors.NAME]`

use std::sync::Arc;

use ::http::{HeaderName, HeaderValue, Method};

use super::Checker;
use crate::config::file;
use crate::config::file::cors::{Origin, UpstreamFields};
use crate::config::list::List;
use crate::config::text::Written;
use crate::config::value::Spanned;
use crate::policy::{Cors, Origins, RequestFields};

/// Makes the policy; `None`: something of it is wrong and has been reported.
pub(super) fn cors(cors: &file::cors::Cors, checker: &mut Checker<'_>) -> Option<Arc<Cors>> {
    let file::cors::Cors {
        origins,
        methods,
        headers,
        expose,
        credentials,
        max_age,
        private_network,
        upstream_fields,
    } = cors;
    let origins = &origins.given()?.0;
    let any = origins.iter().find(|origin| origin.value.value == Origin::Any);
    if let Some(any) = any {
        whole_world(any.span, origins.len(), credentials.value, checker);
    }
    let patterns = origins.iter().filter_map(|origin| match &origin.value.value {
        Origin::Site(pattern) => Some(pattern.clone()),
        Origin::Any => None,
    });
    Some(Arc::new(Cors {
        origins: match any {
            Some(_) => Origins::Any,
            None => Origins::Listed(patterns.collect()),
        },
        methods: joined(
            methods
                .0
                .iter()
                .map(|method: &Spanned<Written<Method>>| method.value.value.as_str()),
        )?,
        headers: requested(headers, checker),
        expose: exposed(expose, credentials.value, checker),
        credentials: credentials.value,
        max_age: HeaderValue::from(max_age.value.value.0.as_secs()),
        private_network: private_network.value,
        keep_upstream: upstream_fields.value == UpstreamFields::Keep,
    }))
}

/// `*` among the origins.
fn whole_world(at: crate::config::diagnostic::Span, origins: usize, credentials: bool, checker: &mut Checker<'_>) {
    if credentials {
        checker.error(
            at,
            "`\"*\"` does not go with `credentials = true`",
            "every site could act in the name of your users, and browsers refuse it: list the sites".to_owned(),
        );
    } else if origins > 1 {
        checker.error(
            at,
            "`\"*\"` is every site: the others are superfluous",
            "write `[\"*\"]`, or list the sites".to_owned(),
        );
    }
}

fn requested(headers: &List<Written<HeaderName>>, checker: &mut Checker<'_>) -> RequestFields {
    match headers.0.iter().find(|name| name.text == "*") {
        Some(any) if headers.0.len() > 1 => {
            checker.error(
                any.span,
                "`\"*\"` is every field: the others are superfluous",
                "write `[\"*\"]`, or list the fields".to_owned(),
            );
            RequestFields::Any
        }
        Some(_) => RequestFields::Any,
        None => RequestFields::Listed(joined(headers.0.iter().map(|name| name.text.as_str()))),
    }
}

fn exposed(expose: &List<Written<HeaderName>>, credentials: bool, checker: &mut Checker<'_>) -> Option<HeaderValue> {
    if credentials && let Some(any) = expose.0.iter().find(|name| name.text == "*") {
        checker.error(
            any.span,
            "browsers read `\"*\"` as the name of a field where `credentials = true`",
            "list the fields".to_owned(),
        );
    }
    joined(expose.0.iter().map(|name| name.text.as_str()))
}

/// As the fields list them; `None` for none.
fn joined<'a>(names: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        return None;
    }
    HeaderValue::from_str(&names.join(", ")).ok()
}

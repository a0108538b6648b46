//! `gateway health`: whether a gateway that runs wants requests. Images without a shell are checked by it.

use std::path::Path;

use clap::Args;
use http::{Method, StatusCode};
use serde_json::Value;

use super::operator::{Operator, Which};
use super::{BAD_ENVIRONMENT, GOOD, print, say};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only whether the process answers: also good while it starts or stops
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    which: Which,
}

/// Asks `/readyz`, or `/livez`; says in a line what it heard.
pub(super) fn run(file: &Path, options: &Options) -> u8 {
    let path = if options.live { "/livez" } else { "/readyz" };
    let reply = Operator::find(&options.which, file)
        .and_then(|operator| operator.ask(Method::GET, path, "application/json", None));
    let reply = match reply {
        Ok(reply) => reply,
        Err(code) => return code,
    };
    let line = summary(&reply.json());
    if reply.status == StatusCode::OK {
        print(&format!("{line}\n"));
        GOOD
    } else {
        say(&format!("error: {line}"));
        BAD_ENVIRONMENT
    }
}

/// `ok; api 2 of 3, web 1 of 1`
fn summary(body: &Value) -> String {
    let status = body["status"].as_str().unwrap_or("the answer is not that of a gateway");
    let upstreams: Vec<String> = (body["upstreams"].as_object().into_iter().flatten())
        .map(|(name, upstream)| format!("{name} {} of {}", upstream["healthy"], upstream["total"]))
        .collect();
    if upstreams.is_empty() {
        status.to_owned()
    } else {
        format!("{status}; {}", upstreams.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_it() {
        let ready = json!({"status": "ok", "upstreams": {
            "api": {"healthy": 2, "total": 3}, "web": {"healthy": 1, "total": 1},
        }});
        assert_eq!(summary(&ready), "ok; api 2 of 3, web 1 of 1");
        assert_eq!(summary(&json!({"status": "draining", "upstreams": {}})), "draining");
        assert_eq!(summary(&Value::Null), "the answer is not that of a gateway");
    }
}

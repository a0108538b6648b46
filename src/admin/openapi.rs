//! The description of the admin listener (OpenAPI 3.1): `/api/v1/openapi.json`. What is described stands in one table,
//! which a test compares with the pages that there are.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::wire;
use crate::answer::Answer;

/// What can be asked: a method of a path.
pub(super) struct Operation {
    pub(super) method: &'static str,
    /// Names in braces stand for one segment.
    pub(super) path: &'static str,
    about: &'static str,
    body: Body,
    answer: Kind,
}

/// What may be sent along.
enum Body {
    Nothing,
    /// An object of these members, none of which must be there: name, JSON Schema.
    Members(&'static [(&'static str, &'static str)]),
    /// The same; the first must be there.
    Needs(&'static [(&'static str, &'static str)]),
}

/// What is answered, if it goes well.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    /// JSON for programs, text for people, as `Accept` says.
    Either,
    Text,
}

const TEXT: &str = r#"{"type": "string"}"#;
const FLAG: &str = r#"{"type": "boolean"}"#;
const COUNT: &str = r#"{"type": "integer", "minimum": 0}"#;
const OBJECT: &str = r#"{"type": "object"}"#;
const LEVEL: &str = r#"{"type": ["string", "null"]}"#;
const SESSIONS: &str = r#"{"type": "string", "enum": ["keep", "move"]}"#;

const fn get(path: &'static str, about: &'static str, answer: Kind) -> Operation {
    Operation {
        method: "get",
        path,
        about,
        body: Body::Nothing,
        answer,
    }
}

const fn change(method: &'static str, path: &'static str, about: &'static str, body: Body) -> Operation {
    Operation {
        method,
        path,
        about,
        body,
        answer: Kind::Json,
    }
}

/// All of it.
pub(super) const OPERATIONS: &[Operation] = &[
    get("/livez", "The process answers", Kind::Json),
    get(
        "/readyz",
        "Whether requests should be sent here; 503 where not",
        Kind::Json,
    ),
    get("/metrics", "Everything that is counted, for Prometheus", Kind::Text),
    get("/api/v1/status", "The process as a whole", Kind::Json),
    get(
        "/api/v1/config",
        "The configuration in force with every default, secrets masked",
        Kind::Either,
    ),
    get("/api/v1/certificates", "The certificates in force", Kind::Json),
    get("/api/v1/log", "How much the gateway's own log tells", Kind::Json),
    change(
        "put",
        "/api/v1/log",
        "Changes that until the process ends; null: what the file says",
        Body::Needs(&[("level", LEVEL)]),
    ),
    get("/api/v1/upstreams", "Every server of every upstream", Kind::Json),
    get(
        "/api/v1/upstreams/{upstream}",
        "Every server of an upstream",
        Kind::Json,
    ),
    change(
        "post",
        "/api/v1/upstreams/{upstream}/servers/{server}/drain",
        "Takes a server out of service",
        Body::Members(&[("sessions", SESSIONS)]),
    ),
    change(
        "post",
        "/api/v1/upstreams/{upstream}/servers/{server}/undrain",
        "Puts a server back into service",
        Body::Nothing,
    ),
    get("/api/v1/limits/report", "What came of every rate limit", Kind::Either),
    get(
        "/api/v1/limits/{limit}/keys/{key}",
        "Where one client stands with a limit; one segment for each part of its key",
        Kind::Json,
    ),
    change(
        "delete",
        "/api/v1/limits/{limit}/keys/{key}",
        "Lets one client begin anew",
        Body::Nothing,
    ),
    get("/api/v1/bans", "Who is banned", Kind::Json),
    change(
        "delete",
        "/api/v1/bans/{client}",
        "Ends the ban of an address or a network",
        Body::Nothing,
    ),
    get("/api/v1/cache", "What every cache holds", Kind::Json),
    change(
        "post",
        "/api/v1/cache/purge",
        "Takes answers out of a cache",
        Body::Members(&[
            ("url", TEXT),
            ("prefix", TEXT),
            ("tag", TEXT),
            ("all", FLAG),
            ("cache", TEXT),
            ("soft", FLAG),
        ]),
    ),
    change(
        "post",
        "/api/v1/cache/explain",
        "Says what would be answered from a cache, and why",
        Body::Members(&[("url", TEXT), ("headers", OBJECT)]),
    ),
    change(
        "post",
        "/api/v1/reload",
        "Puts the file into force, or only says what would change",
        Body::Members(&[("plan", FLAG), ("confirm", TEXT)]),
    ),
    change(
        "post",
        "/api/v1/rollback",
        "Puts a configuration into force that was before",
        Body::Members(&[("to", COUNT)]),
    ),
    change(
        "post",
        "/api/v1/confirm",
        "The configuration on trial stays",
        Body::Nothing,
    ),
    get("/api/v1/history", "Which configurations were in force", Kind::Either),
    change(
        "post",
        "/api/v1/upgrade",
        "A process of the new binary takes this one's place",
        Body::Nothing,
    ),
    get("/api/v1/openapi.json", "This description", Kind::Json),
];

/// `GET /api/v1/openapi.json`
pub(super) fn description() -> Answer {
    wire::json(StatusCode::OK, &document())
}

fn document() -> Value {
    let mut paths = Map::new();
    for operation in OPERATIONS {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described(operation);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "deals247-gateway, the admin listener",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What changes something must say that it is deliberate: `Content-Type: application/json`, \
                `X-Requested-With`, or a token.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
            },
            "schemas": { "Problem": {
                "type": "object",
                "required": ["type", "title", "status", "detail"],
                "properties": {
                    "type": { "type": "string" },
                    "title": { "type": "string" },
                    "status": { "type": "integer" },
                    "detail": { "type": "string" },
                },
            } },
        },
        "security": [{}, { "token": [] }, { "certificate": [] }, { "token": [], "certificate": [] }],
    })
}

fn described(operation: &Operation) -> Value {
    let Operation {
        path,
        about,
        body,
        answer,
        ..
    } = operation;
    let object = json!({ "application/json": { "schema": { "type": "object" } } });
    let text = json!({ "schema": { "type": "string" } });
    let content = match answer {
        Kind::Json => object,
        Kind::Either => {
            let mut both = object;
            both["text/plain"] = text;
            both
        }
        Kind::Text => json!({ "text/plain": text }),
    };
    let problem = json!({ "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } });
    let names = path
        .split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
    let parameters: Vec<Value> = names
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } }))
        .collect();
    let mut described = json!({
        "summary": about,
        "parameters": parameters,
        "responses": {
            "200": { "description": "It is so, or it was done", "content": content },
            "default": { "description": "It was not done, and why", "content": problem },
        },
    });
    let (members, required) = match body {
        Body::Nothing => return described,
        Body::Members(members) => (members, false),
        Body::Needs(members) => (members, true),
    };
    let properties: Map<String, Value> = members
        .iter()
        .map(|(name, schema)| ((*name).to_owned(), serde_json::from_str(schema).unwrap_or_default()))
        .collect();
    let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
    if let (true, Some((first, _))) = (required, members.first()) {
        schema["required"] = json!([first]);
    }
    described["requestBody"] = json!({ "required": required, "content": { "application/json": { "schema": schema } } });
    described
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::admin::page::Page;

    /// A path with something in place of each name.
    fn example(path: &str) -> String {
        let segments = path
            .split('/')
            .map(|segment| if segment.starts_with('{') { "x" } else { segment });
        segments.collect::<Vec<_>>().join("/")
    }

    #[test]
    fn every_operation_is_there_and_every_method_is_described() {
        for operation in OPERATIONS {
            let page = Page::find(&example(operation.path)).unwrap_or_else(|| panic!("{} is no page", operation.path));
            let described = |method: &str| {
                let mut same = OPERATIONS.iter().filter(|other| other.path == operation.path);
                same.any(|other| other.method.eq_ignore_ascii_case(method))
            };
            let method = Method::from_bytes(operation.method.to_ascii_uppercase().as_bytes()).unwrap();
            assert!(page.takes(&method), "{} {}", operation.method, operation.path);
            for method in page.methods().split(", ").filter(|method| *method != "HEAD") {
                assert!(described(method), "{method} {} is not described", operation.path);
            }
        }
    }

    /// Every path that pages are found by stands in the text of that module.
    #[test]
    fn every_page_is_described() {
        let text = include_str!("page.rs");
        let text = &text[..text.find("#[cfg(test)]").unwrap()];
        let arms = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("[\"api\", \"v1\", "));
        let mut count = 0;
        for arm in arms {
            let pattern = arm.split(']').next().unwrap();
            let path = pattern.split(", ").map(|segment| match segment.strip_prefix('"') {
                Some(fixed) => fixed.trim_end_matches('"').to_owned(),
                // A pattern that takes several segments.
                None if segment.ends_with("..") => "{key}".to_owned(),
                None => format!("{{{segment}}}"),
            });
            let path = format!("/api/v1/{}", path.collect::<Vec<_>>().join("/"));
            assert!(
                OPERATIONS.iter().any(|operation| operation.path == path),
                "{path} is not described"
            );
            count += 1;
        }
        assert!(count > 10, "{count}");
    }

    #[test]
    fn the_description_is_whole() {
        let document = document();
        assert_eq!(document["paths"].as_object().unwrap().len(), {
            let mut paths: Vec<&str> = OPERATIONS.iter().map(|operation| operation.path).collect();
            paths.dedup();
            paths.len()
        });
        let body = &document["paths"]["/api/v1/log"]["put"]["requestBody"];
        assert_eq!(body["content"]["application/json"]["schema"]["required"][0], "level");
        let drain = &document["paths"]["/api/v1/upstreams/{upstream}/servers/{server}/drain"]["post"];
        assert_eq!(drain["parameters"].as_array().unwrap().len(), 2);
    }
}

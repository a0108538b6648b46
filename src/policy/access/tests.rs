//! What an access table refuses, and with what.

use http::HeaderMap;

use super::*;

#[derive(Debug)]
struct Map;

impl Countries for Map {
    fn of(&self, ip: IpAddr) -> Option<Country> {
        match ip.to_string().as_str() {
            "192.0.2.1" => Country::new("DE"),
            "192.0.2.2" => Country::new("FR"),
            _ => None,
        }
    }
}

fn networks(list: &str) -> Option<Arc<dyn Addresses>> {
    Some(Arc::new(Networks::parse(list).expect("networks")))
}

fn reason(answer: Option<Answer>) -> Option<Reason> {
    match answer? {
        Answer::Refusal { reason, .. } => Some(reason),
        _ => None,
    }
}

struct Case<'a> {
    client: &'a str,
    method: Method,
    path: &'a str,
    fields: &'a [(&'static str, &'a str)],
    has_body: bool,
}

const PLAIN: Case<'static> = Case {
    client: "192.0.2.1",
    method: Method::GET,
    path: "/",
    fields: &[],
    has_body: false,
};

fn refused(access: &Access, case: &Case<'_>) -> Option<Reason> {
    let mut headers = HeaderMap::new();
    for (name, value) in case.fields {
        headers.append(*name, HeaderValue::from_str(value).expect("value"));
    }
    let asked = Asked {
        client: case.client.parse().expect("address"),
        method: &case.method,
        path: case.path,
        headers: &headers,
        has_body: case.has_body,
        length: None,
        preflight: false,
    };
    reason(access.refuse_client(&asked).or_else(|| access.refuse_request(&asked)))
}

#[test]
fn addresses() {
    let access = Access {
        allow: networks("192.0.2.0/24"),
        deny: networks("192.0.2.2"),
        ..Access::default()
    };
    for (client, refusal) in [
        ("192.0.2.1", None),
        ("::ffff:192.0.2.1", None),
        ("192.0.2.2", Some(Reason::AddressNotAllowed)),
        ("198.51.100.1", Some(Reason::AddressNotAllowed)),
    ] {
        assert_eq!(refused(&access, &Case { client, ..PLAIN }), refusal, "{client}");
    }
}

#[test]
fn countries() {
    let rule = |allow: &[&str], deny: &[&str]| Access {
        countries: Some(CountryRule {
            known: Arc::new(Map),
            allow: allow.iter().filter_map(|code| Country::new(code)).collect(),
            deny: deny.iter().filter_map(|code| Country::new(code)).collect(),
        }),
        ..Access::default()
    };
    let no = Some(Reason::CountryNotAllowed);
    for (allow, deny, [german, french, nowhere]) in [
        (&["DE"][..], &[][..], [None, no, no]),
        (&[], &["DE"], [no, None, None]),
        (&["DE", "FR"], &["FR"], [None, no, no]),
    ] {
        let access = rule(allow, deny);
        for (client, refusal) in [("192.0.2.1", german), ("192.0.2.2", french), ("127.0.0.1", nowhere)] {
            assert_eq!(
                refused(&access, &Case { client, ..PLAIN }),
                refusal,
                "{allow:?} {deny:?} {client}"
            );
        }
    }
}

#[test]
fn agents() {
    let list = |text: &str| {
        Some(Arc::new(
            Agents::new(&[AgentPattern::Prefix(text.into())]).expect("a list"),
        ))
    };
    let deny = Access {
        deny_agents: list("curl/"),
        ..Access::default()
    };
    let allow = Access {
        allow_agents: list("Ours/"),
        ..Access::default()
    };
    let no = Some(Reason::AgentNotAllowed);
    for (agent, denied, allowed) in [("curl/8", no, no), ("Ours/1", None, None), ("", None, no)] {
        let fields = [("user-agent", agent)];
        let case = Case {
            fields: if agent.is_empty() { &[] } else { &fields },
            ..PLAIN
        };
        assert_eq!(refused(&deny, &case), denied, "{agent}");
        assert_eq!(refused(&allow, &case), allowed, "{agent}");
    }
}

#[test]
fn scanners_are_told_that_there_is_nothing() {
    let access = Access {
        scanners: Scanners::all(),
        ..Access::default()
    };
    let case = Case { path: "/.env", ..PLAIN };
    assert_eq!(refused(&access, &case), Some(Reason::ScannerPath));
    assert_eq!(Reason::ScannerPath.status(), 404);
    assert_eq!(refused(&access, &PLAIN), None);
}

#[test]
fn methods() {
    let access = Access {
        methods: vec![Method::GET, Method::POST],
        ..Access::default()
    };
    for (method, refusal) in [
        (Method::GET, None),
        (Method::HEAD, Some(Reason::MethodNotAllowed)),
        (Method::DELETE, Some(Reason::MethodNotAllowed)),
    ] {
        assert_eq!(refused(&access, &Case { method, ..PLAIN }), refusal);
    }
}

#[test]
fn media_types_of_bodies() {
    let access = Access {
        content_types: vec!["application/json".into(), "image/*".into(), "application/*+json".into()],
        ..Access::default()
    };
    let no = Some(Reason::UnsupportedMediaType);
    for (fields, refusal) in [
        (&["application/json"][..], None),
        (&["Application/JSON; charset=utf-8"], None),
        (&["image/png"], None),
        (&["application/problem+json"], None),
        (&["image/"], no),
        (&["application/+json"], no),
        (&["text/plain"], no),
        (&["application/jsonx"], no),
        (&[], no),
        (&[""], no),
        (&["application/json", "text/plain"], no),
        (&["text/plain; application/json"], no),
    ] {
        let fields: Vec<_> = fields.iter().map(|value| ("content-type", *value)).collect();
        let case = |has_body| Case {
            fields: &fields,
            has_body,
            method: Method::POST,
            ..PLAIN
        };
        assert_eq!(refused(&access, &case(true)), refusal, "{fields:?}");
        assert_eq!(refused(&access, &case(false)), None, "without a body: {fields:?}");
    }
}

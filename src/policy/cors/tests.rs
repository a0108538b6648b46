//! Who may read what, by tables.

use super::*;

fn exact(origin: &str) -> OriginPattern {
    OriginPattern::Exact(origin.into())
}

fn below(scheme: &str, rest: &str) -> OriginPattern {
    OriginPattern::Below {
        scheme: scheme.into(),
        rest: rest.into(),
    }
}

fn policy(origins: Origins, credentials: bool) -> Cors {
    Cors {
        origins,
        methods: HeaderValue::from_static("GET, POST"),
        headers: RequestFields::Listed(Some(HeaderValue::from_static("authorization"))),
        expose: Some(HeaderValue::from_static("x-total")),
        credentials,
        max_age: HeaderValue::from_static("600"),
        private_network: false,
        keep_upstream: false,
    }
}

fn deals() -> Cors {
    let origins = vec![
        exact("https://deals247.online"),
        exact("http://localhost:5173"),
        below("https://", ".deals247.online"),
        below("https://", ".dev.test:8443"),
    ];
    policy(Origins::Listed(origins), true)
}

fn fields(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

/// Every line of the answer, in the order of names.
fn lines(headers: &HeaderMap) -> Vec<String> {
    let mut lines: Vec<String> = headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    lines
}

fn answered(policy: &Cors, request: &[(&'static str, &'static str)], preflight: bool) -> Vec<String> {
    let mut answer = HeaderMap::new();
    policy.apply(&fields(request), preflight, &mut answer);
    lines(&answer)
}

#[test]
fn origins_match_whole_or_not_at_all() {
    let policy = deals();
    for (origin, allowed) in [
        ("https://deals247.online", true),
        ("http://localhost:5173", true),
        ("https://www.deals247.online", true),
        ("https://a.b.deals247.online", true),
        ("https://x_1-y.deals247.online", true),
        ("https://a.dev.test:8443", true),
        // Another scheme, port or case is another origin.
        ("http://deals247.online", false),
        ("http://www.deals247.online", false),
        ("https://deals247.online:443", false),
        ("https://deals247.online:8443", false),
        ("https://www.deals247.online:8443", false),
        ("http://localhost", false),
        ("http://localhost:51730", false),
        ("HTTPS://DEALS247.ONLINE", false),
        ("https://WWW.deals247.online", false),
        ("https://a.dev.test", false),
        ("https://a.dev.test:443", false),
        ("https://dev.test:8443", false),
        // Names that end, begin or contain.
        ("https://evildeals247.online", false),
        ("https://deals247.online.evil.example", false),
        ("https://deals247.onlinee", false),
        ("https://deals247.online.", false),
        ("https://evil.example/.deals247.online", false),
        ("https://evil.example?.deals247.online", false),
        ("https://evil.example#.deals247.online", false),
        ("https://evil.example:80.deals247.online", false),
        ("https://user@.deals247.online", false),
        ("https://evil.example\\.deals247.online", false),
        ("https://evil.example%2f.deals247.online", false),
        ("https://evil.example`.deals247.online", false),
        ("https://.deals247.online", false),
        ("https://..deals247.online", false),
        ("https://a..deals247.online", false),
        ("https://.a.deals247.online", false),
        ("https://*.deals247.online", false),
        ("https:///.deals247.online", false),
        ("https://a b.deals247.online", false),
        ("https://a,https://b.deals247.online", false),
        ("https://deals247.online/", false),
        (" https://deals247.online", false),
        ("null", false),
        ("*", false),
        ("", false),
    ] {
        let mut answer = HeaderMap::new();
        let mut request = HeaderMap::new();
        request.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
        policy.apply(&request, false, &mut answer);
        let got = answer
            .get(ACCESS_CONTROL_ALLOW_ORIGIN)
            .map(|value| value.to_str().unwrap());
        assert_eq!(got, allowed.then_some(origin), "{origin}");
        assert_eq!(
            answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS),
            allowed,
            "{origin}"
        );
        assert_eq!(answer.contains_key(ACCESS_CONTROL_EXPOSE_HEADERS), allowed, "{origin}");
        assert_eq!(answer["vary"], "Origin", "{origin}");
    }
}

#[test]
fn two_origins_are_none() {
    let twice = [
        ("origin", "https://deals247.online"),
        ("origin", "https://deals247.online"),
    ];
    assert_eq!(answered(&deals(), &twice, false), ["vary: Origin"]);
}

#[test]
fn answers_of_each_kind() {
    let open = policy(Origins::Any, false);
    let good = [("origin", "https://deals247.online")];
    let bad = [("origin", "https://evil.example")];
    for (policy, request, preflight, expected) in [
        (
            &deals(),
            &good[..],
            false,
            &[
                "access-control-allow-credentials: true",
                "access-control-allow-origin: https://deals247.online",
                "access-control-expose-headers: x-total",
                "vary: Origin",
            ][..],
        ),
        (&deals(), &bad, false, &["vary: Origin"]),
        (&deals(), &[], false, &["vary: Origin"]),
        (
            &deals(),
            &good,
            true,
            &[
                "access-control-allow-credentials: true",
                "access-control-allow-headers: authorization",
                "access-control-allow-methods: GET, POST",
                "access-control-allow-origin: https://deals247.online",
                "access-control-max-age: 600",
                "vary: Origin",
            ],
        ),
        (&deals(), &bad, true, &["vary: Origin"]),
        // The same for everybody: nothing to vary by.
        (
            &open,
            &[],
            false,
            &[
                "access-control-allow-origin: *",
                "access-control-expose-headers: x-total",
            ],
        ),
        (
            &open,
            &bad,
            false,
            &[
                "access-control-allow-origin: *",
                "access-control-expose-headers: x-total",
            ],
        ),
        (
            &open,
            &[("origin", "null")],
            true,
            &[
                "access-control-allow-headers: authorization",
                "access-control-allow-methods: GET, POST",
                "access-control-allow-origin: *",
                "access-control-max-age: 600",
            ],
        ),
    ] {
        assert_eq!(
            answered(policy, request, preflight),
            expected,
            "{request:?} {preflight}"
        );
    }
}

/// What the application sends: `*` for everybody, and what else express's middleware does.
fn of_express() -> HeaderMap {
    fields(&[
        ("access-control-allow-origin", "*"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,HEAD,PUT,PATCH,POST,DELETE"),
        ("access-control-allow-headers", "x-anything"),
        ("access-control-expose-headers", "x-secret"),
        ("access-control-max-age", "86400"),
        ("access-control-allow-private-network", "true"),
        ("vary", "Accept"),
    ])
}

#[test]
fn the_applications_fields_are_replaced_as_a_whole() {
    let request = fields(&[("origin", "https://evil.example")]);
    let mut answer = of_express();
    deals().apply(&request, false, &mut answer);
    assert_eq!(lines(&answer), ["vary: Accept, Origin"]);

    let request = fields(&[("origin", "https://deals247.online")]);
    let mut answer = of_express();
    answer.append(
        ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("https://other.example"),
    );
    deals().apply(&request, false, &mut answer);
    assert_eq!(
        lines(&answer),
        [
            "access-control-allow-credentials: true",
            "access-control-allow-origin: https://deals247.online",
            "access-control-expose-headers: x-total",
            "vary: Accept, Origin",
        ]
    );
}

#[test]
fn the_applications_fields_stay_where_the_file_says_so() {
    let mut policy = deals();
    policy.keep_upstream = true;
    let request = fields(&[("origin", "https://evil.example")]);
    let mut answer = of_express();
    policy.apply(&request, false, &mut answer);
    assert_eq!(lines(&answer), lines(&of_express()));

    // It names one site: others must not get this answer from a cache.
    let mut answer = fields(&[("access-control-allow-origin", "https://evil.example")]);
    policy.apply(&request, false, &mut answer);
    assert_eq!(
        lines(&answer),
        ["access-control-allow-origin: https://evil.example", "vary: Origin"]
    );

    // What it says twice no browser believes, and where it says nothing the policy does.
    let mut doubled = of_express();
    doubled.append(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    for mut answer in [doubled, HeaderMap::new()] {
        policy.apply(&request, false, &mut answer);
        assert!(!answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}

#[test]
fn what_is_a_preflight() {
    let both = [
        ("origin", "https://a.example"),
        ("access-control-request-method", "PUT"),
    ];
    for (method, request, expected) in [
        ("OPTIONS", &both[..], Some("PUT")),
        ("GET", &both, None),
        ("OPTIONS", &both[..1], None),
        ("OPTIONS", &both[1..], None),
        ("OPTIONS", &[], None),
        (
            "OPTIONS",
            &[both[0], both[1], ("access-control-request-method", "GET")],
            None,
        ),
        ("OPTIONS", &[both[0], ("access-control-request-method", "")], None),
        ("OPTIONS", &[both[0], ("access-control-request-method", "A B")], None),
    ] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let got = announced(&method, &fields(request));
        assert_eq!(got.as_ref().map(Method::as_str), expected, "{request:?}");
    }
}

#[test]
fn any_field_is_the_fields_that_are_asked_for() {
    let mut policy = deals();
    policy.headers = RequestFields::Any;
    for (asked, echoed) in [
        (Some("authorization,x-anything"), true),
        (Some("x-a, x-b"), true),
        (Some("x-a, x b"), false),
        (Some(""), false),
        (Some("x-a,,x-b"), false),
        (None, false),
    ] {
        let mut request = vec![("origin", "https://deals247.online")];
        request.extend(asked.map(|asked| ("access-control-request-headers", asked)));
        let mut answer = HeaderMap::new();
        policy.apply(&fields(&request), true, &mut answer);
        let got = answer
            .get(ACCESS_CONTROL_ALLOW_HEADERS)
            .map(|value| value.to_str().unwrap());
        assert_eq!(got, asked.filter(|_| echoed));
        assert_eq!(answer["vary"], "Origin, Access-Control-Request-Headers");
    }
}

#[test]
fn private_networks_are_opened_only_where_the_file_says_so() {
    let request = [
        ("origin", "https://deals247.online"),
        ("access-control-request-private-network", "true"),
    ];
    for (allowed, preflight, expected) in [(true, true, true), (false, true, false), (true, false, false)] {
        let mut policy = deals();
        policy.private_network = allowed;
        let told = answered(&policy, &request, preflight);
        let has = told.contains(&"access-control-allow-private-network: true".to_owned());
        assert_eq!(has, expected, "{allowed} {preflight}");
    }
}

//! Whole configuration files: what is wrong with a faulty one, word for word; that the contract and the files that we
//! ship load; that the generated documents are up to date.

mod model;
mod robust;
mod secrets;

use std::path::{Path, PathBuf};

use deals247_gateway::config::model::AdminListen;
use deals247_gateway::config::{self, Loaded, Report};

/// Documents with samples that are whole files.
const GUIDES: [&str; 13] = [
    "docs/access.md",
    "docs/auth.md",
    "docs/cache.md",
    "docs/cdn.md",
    "docs/clients.md",
    "docs/cors.md",
    "docs/limits.md",
    "docs/operations.md",
    "docs/resilience.md",
    "docs/runbooks/blue-green.md",
    "docs/shared-limits.md",
    "docs/telemetry.md",
    "docs/tls.md",
];

/// An environment with two variables.
fn env(name: &str) -> Option<String> {
    let known = [("APP_PORT", "3000"), ("REDIS_PASSWORD", "pa55")];
    let value = known.iter().find(|(known, _)| *known == name)?.1;
    Some(value.to_owned())
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn parse(text: &str) -> Result<Loaded, Report> {
    config::parse("gateway.toml", text, &root().join("tests/it/config"), &env)
}

/// Compares a file with what it should be; writes it where `UPDATE` is set.
fn golden(path: &Path, actual: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        return std::fs::write(path, actual).map_err(|error| format!("{}: {error}", path.display()));
    }
    let expected = std::fs::read_to_string(path).unwrap_or_default();
    if expected == actual {
        return Ok(());
    }
    let name = path.strip_prefix(root()).unwrap_or(path).display().to_string();
    Err(format!(
        "{name} is out of date; `make doc` (UPDATE=1 cargo test --test it config) writes it anew.\n\
         --- expected\n{expected}\n--- actual\n{actual}"
    ))
}

fn files(dir: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(dir)).expect("directory");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    files
}

#[test]
fn every_fault_is_explained() {
    let faults = files("tests/it/config/faults");
    assert!(faults.len() >= 115, "{} faults", faults.len());
    let mut wrong = Vec::new();
    for path in faults {
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("fault");
        let report = match config::parse(&name, &text, path.parent().expect("directory"), &env) {
            Ok(loaded) => loaded.report,
            Err(report) => report,
        };
        assert!(!report.is_empty(), "{name} says nothing");
        assert_eq!(name.starts_with("warn-"), report.errors() == 0, "{name}: {report}");
        let json = report.render_json();
        let count = json.as_array().expect("array").len();
        assert_eq!(count, report.errors() + report.warnings(), "{name}");
        if let Err(difference) = golden(&path.with_extension("stderr"), &report.render_text(false)) {
            wrong.push(difference);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_contract_loads_and_what_is_not_enforced_is_named() {
    let text = std::fs::read_to_string(root().join("tests/it/config/contract.toml")).expect("contract");
    let loaded = parse(&text).unwrap_or_else(|report| panic!("{report}"));
    let report = loaded.report.render_json();
    let mut messages: Vec<&str> = Vec::new();
    for warning in report.as_array().expect("array") {
        assert_eq!(warning["severity"], "warning");
        messages.push(warning["message"].as_str().expect("message"));
    }
    assert_eq!(messages, [""; 0]);
    let config = &loaded.config;
    assert_eq!(config.routes.len(), 10);
    assert_eq!(config.upstreams[1].servers.len(), 2);
    assert_eq!(config.upstreams[1].timeouts.idle.as_secs(), 4);
    assert_eq!(config.upstreams[1].retry.attempts, 2);
    assert!(
        config
            .routes
            .iter()
            .all(|route| route.headers.is_some() && route.compress.is_some())
    );
    assert!(!config.routes[0].access_log && config.routes[1].access_log);
    assert!(config.routes[1].allow.is_some() && config.routes[2].allow.is_none());
}

#[test]
fn what_we_ship_loads() {
    let shipped = files("config");
    assert!(shipped.len() >= 5);
    for path in shipped {
        if let Err(report) = config::load(&path) {
            panic!("{report}");
        }
    }
}

/// What a document shows is a file, or a part of one that is.
#[test]
fn what_documents_show_loads() {
    let text = std::fs::read_to_string(root().join("docs/limits.md")).expect("the document");
    let shown: Vec<&str> = (text.split("```toml\n").skip(1))
        .filter_map(|rest| rest.split("\n```").next())
        .collect();
    assert!(shown.len() >= 3);
    for text in shown {
        let loaded = parse(text).unwrap_or_else(|report| panic!("{text}\n{report}"));
        assert!(loaded.report.is_empty(), "{text}\n{}", loaded.report);
    }
}

/// The file of the README, the smallest that there is: no warnings, and the defaults are safe.
#[test]
fn defaults_are_safe() {
    let loaded = config::load(&root().join("config/minimal.toml")).unwrap_or_else(|report| panic!("{report}"));
    assert!(loaded.report.is_empty(), "{}", loaded.report);
    let server = &loaded.config.server;
    assert!(!server.trusted_proxies.contains("127.0.0.1".parse().expect("address")));
    assert!(
        loaded
            .config
            .admin
            .listen
            .is_some_and(|listen| matches!(listen, AdminListen::Tcp(address) if address.ip().is_loopback()))
    );
    assert!(server.threads >= 1 && server.max_connections > 0 && !server.header_timeout.is_zero());
    let log = loaded.config.access_log.as_ref().expect("access log");
    assert!(
        log.redact.headers.iter().any(|name| &**name == "authorization"),
        "{:?}",
        log.redact
    );
}

/// Every sample of the guides loads, as it stands, without a warning: what they show can be copied.
#[test]
fn samples_in_documents_load() {
    const ROUTE: &str = "[[route]]\nname = \"all\"\npath = \"/*\"\nrespond = { body = \"ok\" }\n";
    let mut samples = 0;
    for guide in GUIDES {
        let text = std::fs::read_to_string(root().join(guide)).expect(guide);
        for sample in text
            .split("```toml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
        {
            let env = |name: &str| match name {
                "GATEWAY_ADMIN_TOKEN" => Some("0123456789abcdef".to_owned()),
                name => env(name),
            };
            let place = root().join("tests/it/config");
            // A guide to operation shows a table by itself; what it needs besides is one route.
            let route = if sample.contains("[[route]]") { "" } else { ROUTE };
            let loaded = config::parse("gateway.toml", &format!("{sample}{route}"), &place, &env)
                .unwrap_or_else(|report| panic!("{guide}: {report}"));
            assert!(loaded.report.is_empty(), "{guide}: {}", loaded.report);
            samples += 1;
        }
    }
    assert!(samples >= GUIDES.len(), "a guide without a sample");
}

#[test]
fn what_is_printed_means_the_same() {
    let contract = std::fs::read_to_string(root().join("tests/it/config/contract.toml")).expect("contract");
    let tricky = r#"
        [server]
        listen = ["127.0.0.1:0"]
        [admin]
        listen = false
        [access_log]
        format = "${client} \"${status}\" \\"
        [redis]
        url = ["redis://:secret@redis:6379", "redis://other"]
        [dns]
        servers = ["127.0.0.53", "[::1]:5353"]
        [cors.partners]
        origins = ["https://*.partner.example:8443", "http://[::1]:3000"]
        methods = ["GET"]
        headers = ["*"]
        expose = ["X-Total"]
        private_network = true
        upstream_fields = "keep"
        [access.site]
        allow = ["private", "192.0.2.0/24", { file = "faults/networks.txt" }]
        deny = "2001:db8::/32"
        deny_agents = ["", "curl/*", "~(?i)\\bbot\\b$"]
        scanners = ["secrets", "scripts"]
        methods = ["GET"]
        content_types = ["application/*+json"]
        [access.all]
        scanners = true
        [auth.session]
        forward_auth = { upstream = "app", path = "/session?x=1" }
        [auth.staff]
        jwt = { secret = "another secret that is long enough", algorithms = ["HS512"], issuer = ["a", "b"], from = ["cookie:s", "query:t"] }
        forward = { "X-User" = "sub", x_roles = "realm.roles" }
        require = { role = ["admin", "staff"], "a.b" = "*" }
        [auth.partners]
        api_keys = { header = "X-Key", file = "faults/partners.txt" }
        credentials = "remove"
        [rate_limit.all]
        rate = "10/s"
        burst = 20
        delay = 5
        key = ["header:X-Key", "client-ip"]
        allow = ["10.0.0.0/8"]
        headers = "express-legacy"
        [rate_limit.one]
        rate = "5/min"
        count = "failures"
        key = "query:a b"
        [headers.page]
        preset = "strict"
        set = { "X-Cost" = "5 $$${x} ${APP_PORT}", "X-Tab" = "a\tb" }
        append = { Link = ["</a>", "</b>"], Vary = "Origin" }
        [upstream.app]
        servers = ["app:${APP_PORT}", { address = "[::1]:80", weight = 3 }]
        health_check = { status = 204, body = "o\"k" }
        balance = "consistent-hash"
        hash = "cookie:sid"
        bounded_load = false
        outlier = false
        tls = { sni = "app.internal", ca = "mod.rs" }
        sticky = { secret = "a secret that is long enough for it" }
        hedge = { after = "50ms" }
        breaker = {}
        [upstream.other]
        servers_file = "faults/servers.txt"
        servers = ["unix:/run/a b.sock", "srv:_http._tcp.app", { address = "x:1", backup = true, max_requests = 2 }]
        health_check = { protocol = "grpc", service = "a.B", unhealthy_interval = "1s" }
        protocol = "h2"
        retry = { on = ["timeout", "429"], per_try_timeout = "1s", methods = ["GET"] }
        queue = { size = 0 }
        [defaults]
        headers = "page"
        cors = "partners"
        auth = { by = "staff", require = { sub = "x" }, optional = true }
        rate_limit = ["all", "one"]
        concurrency = { limit = 3, queue = 0 }
        priority = "low"
        allow = ["10.0.0.0/8"]
        compress = { types = ["text/*"], codings = ["gzip", "br"] }
        [[route]]
        name = "app"
        host = ["a.example", "*.b.example"]
        path = ["/a/*", "~^/(?<id>[0-9]+)$"]
        when = { header = { "X-Y" = "~^\\d$" }, query = { "a.b" = "*" }, cookie = { c = "é" } }
        upstream = "app"
        concurrency = 4
        headers = false
        rewrite = { regex = "^/a/(.*)$", replace = "/${1}", add_prefix = "/v2" }
        [[route]]
        name = "old"
        path = "~^/old/(?<rest>.*)$"
        redirect = { to = "https://${host}/new/${rest}", status = 301 }
        [[route]]
        name = "note"
        path = "/note"
        respond = { body = "line\n\u0000 \"quoted\" é\n" }
        [[route]]
        name = "other"
        path = "/other"
        auth = ["staff", "partners"]
        concurrency = false
        upstream = "other"
        [[route]]
        name = "files"
        path = "/files/*"
        files = { root = "faults", spa_fallback = "app.html" }
    "#;
    for text in [contract.as_str(), tricky] {
        let first = parse(text).unwrap_or_else(|report| panic!("{report}"));
        let printed = config::print(&first);
        let second = parse(&printed).unwrap_or_else(|report| panic!("{printed}\n{report}"));
        assert_eq!(
            format!("{:#?}", first.config),
            format!("{:#?}", second.config),
            "{printed}"
        );
        assert_eq!(
            printed.matches("# default").count(),
            printed.matches("  # default\n").count()
        );
        assert!(
            !printed.contains(":secret@") && !printed.contains(" secret that"),
            "{printed}"
        );
        // Nothing is a default any more, and printing again changes nothing else.
        assert_eq!(config::print(&second), printed.replace("  # default", ""));
    }
}

#[test]
fn documents_are_up_to_date() {
    let schema = serde_json::to_string_pretty(&config::schema()).expect("JSON") + "\n";
    let documents = [
        ("docs/reference.md", config::reference()),
        ("docs/gateway.schema.json", schema),
    ];
    for (path, text) in documents {
        if let Err(difference) = golden(&root().join(path), &text) {
            panic!("{difference}");
        }
    }
}

#[test]
fn files_that_cannot_be_read_say_why() {
    let dir = tempfile::tempdir().expect("directory");
    let says = |path: &Path, expected: &str| {
        let report = config::load(path).expect_err(expected);
        let text = report.render_text(false);
        assert!(text.contains(expected) && text.contains("help:"), "{text}");
        assert!(
            text.contains(&*path.file_name().expect("name").to_string_lossy()),
            "{text}"
        );
        assert_eq!((report.errors(), report.warnings()), (1, 0));
    };
    let write = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("file");
        path
    };
    says(&dir.path().join("nowhere.toml"), "there is no such file");
    says(dir.path(), "cannot be read");
    says(
        &write("latin1.toml", b"[log]\n# caf\xe9\n"),
        "byte 11, in line 2, begins no character",
    );
    says(
        &write("large.toml", &vec![b'#'; 4 * 1024 * 1024 + 1]),
        "larger than 4 MiB",
    );
}

#[test]
fn secrets_can_stand_in_files() {
    let dir = tempfile::tempdir().expect("directory");
    std::fs::write(dir.path().join("redis-url"), "redis://:secret@redis:6379\n").expect("file");
    let file = |secret: &str| {
        let text =
            format!("[redis]\nurl = {secret}\n[[route]]\nname = \"a\"\npath = \"/*\"\nrespond = {{ body = \"a\" }}\n");
        config::parse("gateway.toml", &text, dir.path(), &env)
    };
    let loaded = file("{ file = \"redis-url\" }").unwrap_or_else(|report| panic!("{report}"));
    assert!(config::print(&loaded).contains("url = { file = \"redis-url\" }"));
    assert!(!format!("{loaded:?}").contains("secret"), "{loaded:?}");

    let report = file("{ file = \"nowhere\" }").expect_err("no such file");
    assert!(
        report.to_string().contains("the secret in `nowhere` cannot be read"),
        "{report}"
    );
    let report = file("{ file = \".\" }").expect_err("a directory");
    assert!(report.to_string().contains("it is not a file"), "{report}");
    std::fs::write(dir.path().join("other"), "http://:secret@redis").expect("file");
    let report = file("{ file = \"other\" }").expect_err("no Redis");
    assert!(!report.to_string().contains("secret@"), "{report}");
}

/// Everything that is wrong is reported at once, in the order of the file, and one fault is one message.
#[test]
fn everything_is_reported_at_once() {
    let text = r#"
        [server]
        max_body = 100
        lissten = ["0.0.0.0:80"]
        [upstream.web]
        servers = ["127.0.0.1"]
        [rate_limit.api]
        rate = "0/s"
        burts = 4
        [[route]]
        name = "a"
        path = "/*"
        upstream = "wbe"
        [[route]]
        name = "a"
        path = "x"
        respond = { status = 1000 }
    "#;
    let report = parse(text).expect_err("faults");
    let json = report.render_json();
    let lines: Vec<_> = json
        .as_array()
        .expect("array")
        .iter()
        .map(|fault| fault["line"].as_u64().expect("line"))
        .collect();
    let errors = json
        .as_array()
        .expect("array")
        .iter()
        .filter(|fault| fault["severity"] == "error")
        .count();
    assert_eq!(lines, [3, 4, 6, 8, 9, 13, 15, 16, 17], "{report}");
    assert_eq!(errors, 9, "{report}");
}

#[test]
fn ten_thousand_routes_are_enough() {
    let many = |count: usize| {
        let mut text = String::new();
        for index in 0..count {
            text.push_str(&format!(
                "[[route]]\nname = \"r{index}\"\npath = \"/{index}\"\nrespond = {{}}\n"
            ));
        }
        parse(&text)
    };
    assert_eq!(
        many(10_000)
            .map(|loaded| loaded.config.routes.len())
            .map_err(|report| report.to_string()),
        Ok(10_000)
    );
    let report = many(10_001).expect_err("too many");
    assert!(report.to_string().contains("there are 10001 routes"), "{report}");
}

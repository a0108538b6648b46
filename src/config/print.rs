//! The file with every default filled in, as TOML that means the same.

use super::file::File;
use super::named::Named;
use super::table::{Entry, Table};
use super::text::quoted;

/// A table of the file, with every default filled in and passwords masked.
pub(super) struct Section {
    /// `server`, `upstream`, `route`.
    pub(super) kind: &'static str,
    /// Of `[upstream.NAME]`, and of a route.
    pub(super) name: Option<String>,
    pub(super) entries: Vec<Entry>,
}

/// Every table, in the order in which they are printed.
pub(super) fn sections(file: &File) -> Vec<Section> {
    let File {
        server,
        tls,
        certificate,
        acme,
        admin,
        log,
        access_log,
        telemetry,
        dns,
        redis,
        upstream,
        rate_limit,
        bandwidth,
        headers,
        cors,
        access,
        auth,
        cache,
        cache_redis,
        defaults,
        route,
    } = file;
    let mut sections = vec![table("server", &server.value)];
    if tls.given {
        sections.push(table("tls", &tls.value));
    }
    let certificates = certificate.value.0.iter();
    sections.extend(certificates.map(|certificate| Section {
        // Two are told apart by their files.
        name: certificate.value.cert.given().map(|cert| cert.value.text.clone()),
        ..table("certificate", &certificate.value)
    }));
    sections.extend(acme.given().map(|acme| table("acme", &acme.value)));
    sections.extend([
        table("admin", &admin.value),
        table("log", &log.value),
        table("access_log", &access_log.value),
    ]);
    if telemetry.given {
        sections.push(table("telemetry", &telemetry.value));
    }
    sections.push(table("dns", &dns.value));
    sections.extend(redis.given().map(|redis| table("redis", &redis.value)));
    named("upstream", &upstream.value, &mut sections);
    named("rate_limit", &rate_limit.value, &mut sections);
    named("bandwidth", &bandwidth.value, &mut sections);
    named("headers", &headers.value, &mut sections);
    named("cors", &cors.value, &mut sections);
    named("access", &access.value, &mut sections);
    named("auth", &auth.value, &mut sections);
    named("cache", &cache.value, &mut sections);
    sections.extend(cache_redis.given().map(|redis| table("cache_redis", &redis.value)));
    sections.push(table("defaults", &defaults.value));
    sections.extend(route.value.0.iter().map(|route| {
        let mut route = route.value.clone();
        route.policies = route.policies.or(&defaults.value);
        let name = route.name.given().map(|name| name.value.text.clone());
        Section {
            name,
            ..table("route", &route)
        }
    }));
    sections
}

/// Prints a file. Passwords are masked; `${NAME}` has been replaced by what it stood for.
pub(super) fn print(file: &File) -> String {
    let mut text = String::new();
    for Section { kind, name, entries } in sections(file) {
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&match name {
            _ if ["route", "certificate"].contains(&kind) => format!("[[{kind}]]"),
            Some(name) => format!("[{kind}.{}]", quoted_key(&name)),
            None => format!("[{kind}]"),
        });
        text.push('\n');
        for Entry { key, value, given } in entries {
            let origin = if given { "" } else { "  # default" };
            text.push_str(&format!("{key} = {value}{origin}\n"));
        }
    }
    text
}

fn table<T: Table>(kind: &'static str, table: &T) -> Section {
    Section {
        kind,
        name: None,
        entries: table.entries(),
    }
}

fn named<T: Table>(kind: &'static str, tables: &Named<T>, sections: &mut Vec<Section>) {
    sections.extend(tables.0.iter().map(|(name, each)| Section {
        name: Some(name.value.clone()),
        ..table(kind, each)
    }));
}

fn quoted_key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { name.to_owned() } else { quoted(name) }
}

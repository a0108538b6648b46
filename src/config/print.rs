//! The file with every default filled in, as TOML that means the same.

use super::file::File;
use super::named::Named;
use super::table::{Entry, Table};
use super::text::quoted;

/// Prints a file. Passwords are masked; `${NAME}` has been replaced by what it stood for.
pub(super) fn print(file: &File) -> String {
    let File {
        server,
        admin,
        log,
        access_log,
        dns,
        redis,
        upstream,
        rate_limit,
        headers,
        cors,
        cache,
        defaults,
        route,
    } = file;
    let mut text = String::new();
    section("[server]", server.value.entries(), &mut text);
    section("[admin]", admin.value.entries(), &mut text);
    section("[log]", log.value.entries(), &mut text);
    section("[access_log]", access_log.value.entries(), &mut text);
    section("[dns]", dns.value.entries(), &mut text);
    if let Some(redis) = redis.given() {
        section("[redis]", redis.value.entries(), &mut text);
    }
    named("upstream", &upstream.value, &mut text);
    named("rate_limit", &rate_limit.value, &mut text);
    named("headers", &headers.value, &mut text);
    named("cors", &cors.value, &mut text);
    named("cache", &cache.value, &mut text);
    section("[defaults]", defaults.value.entries(), &mut text);
    for route in &route.value.0 {
        let mut route = route.value.clone();
        route.policies = route.policies.or(&defaults.value);
        section("[[route]]", route.entries(), &mut text);
    }
    text
}

fn named<T: Table>(kind: &str, tables: &Named<T>, text: &mut String) {
    for (name, table) in &tables.0 {
        section(&format!("[{kind}.{}]", quoted_key(&name.value)), table.entries(), text);
    }
}

fn section(header: &str, entries: Vec<Entry>, text: &mut String) {
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(header);
    text.push('\n');
    for Entry { key, value, given } in entries {
        let origin = if given { "" } else { "  # default" };
        text.push_str(&format!("{key} = {value}{origin}\n"));
    }
}

fn quoted_key(name: &str) -> String {
    let bare = !name.is_empty()
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if bare { name.to_owned() } else { quoted(name) }
}

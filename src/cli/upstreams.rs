//! `gateway upstreams`, `gateway drain`, `gateway undrain`: look at the servers of a gateway that runs, take one out of
//! service, put it back.

use std::path::Path;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use super::operator::{Reply, Which, run, segment};
use super::{print, say};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Only this upstream
    upstream: Option<String>,
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
pub(super) struct Server {
    /// The upstream, as the file names it
    upstream: String,
    /// The server, as the file names it, or one of its addresses (NAME@ADDRESS)
    server: String,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
pub(super) struct DrainOptions {
    #[command(flatten)]
    server: Server,
    /// Clients whose cookie names the server stay until that expires
    #[arg(long)]
    keep_sessions: bool,
}

/// Shows the servers.
pub(super) fn show(file: &Path, options: &Options) -> u8 {
    let path = match &options.upstream {
        None => "/api/v1/upstreams".to_owned(),
        Some(upstream) => format!("/api/v1/upstreams/{}", segment(upstream)),
    };
    let accept = if options.json { "application/json" } else { "text/plain" };
    run(file, &options.which, Method::GET, &path, accept, None, |reply| {
        print(&reply.text());
    })
}

/// Takes a server out of service.
pub(super) fn drain(file: &Path, options: &DrainOptions) -> u8 {
    let sessions = if options.keep_sessions { "keep" } else { "move" };
    order(file, &options.server, "drain", &json!({ "sessions": sessions }))
}

/// Puts it back.
pub(super) fn undrain(file: &Path, server: &Server) -> u8 {
    order(file, server, "undrain", &json!({}))
}

fn order(file: &Path, server: &Server, order: &str, body: &Value) -> u8 {
    let path = format!(
        "/api/v1/upstreams/{}/servers/{}/{order}",
        segment(&server.upstream),
        segment(&server.server)
    );
    let told = |reply: &Reply| {
        let reply = reply.json();
        if let Some(warning) = reply["warning"].as_str() {
            say(&format!("warning: {warning}"));
        }
        for one in reply["servers"].as_array().into_iter().flatten() {
            let text = |key: &str| one[key].as_str().unwrap_or("-").to_owned();
            print(&format!(
                "{} {}: {}, {} in flight\n",
                text("server"),
                text("address"),
                text("state"),
                one["in_flight"]
            ));
        }
    };
    run(
        file,
        &server.which,
        Method::POST,
        &path,
        "application/json",
        Some(body),
        told,
    )
}

//! `gateway cache`: what a gateway that runs keeps, why, and out with it.

use std::path::Path;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Map, Value, json};

use super::operator::{Reply, Which, run};
use super::{BAD_COMMAND, print, say};

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What a GET of this address would get, and why
    Explain {
        /// The whole address
        url: String,
        /// A field of the request
        #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
        headers: Vec<String>,
    },
    /// Take answers out
    Purge(Purge),
    /// The caches, and what they hold
    List,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false, id = "what")]
struct Target {
    /// This address
    #[arg(long)]
    url: Option<String>,
    /// Every address that begins so; from `/` on: of every host
    #[arg(long)]
    prefix: Option<String>,
    /// Everything with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Everything
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
struct Purge {
    #[command(flatten)]
    target: Target,
    /// Make it stale instead
    #[arg(long)]
    soft: bool,
    /// Only of this cache
    #[arg(long, value_name = "NAME")]
    cache: Option<String>,
}

/// Carries it out.
pub(super) fn cache(file: &Path, options: &Options) -> u8 {
    let (method, path, body, told): (_, _, _, fn(&Reply)) = match &options.command {
        Command::List => (Method::GET, "/api/v1/cache", None, listed),
        Command::Purge(purge) => (Method::POST, "/api/v1/cache/purge", Some(order(purge)), purged),
        Command::Explain { url, headers } => {
            let mut fields = Map::new();
            for line in headers {
                let Some((name, value)) = line.split_once(':') else {
                    say(&format!("error: `{line}` is no header field: write `name: value`"));
                    return BAD_COMMAND;
                };
                fields.insert(name.trim().to_owned(), value.trim().into());
            }
            let question = json!({ "url": url, "headers": fields });
            (Method::POST, "/api/v1/cache/explain", Some(question), explained)
        }
    };
    run(
        file,
        &options.which,
        method,
        path,
        "application/json",
        body.as_ref(),
        told,
    )
}

fn order(purge: &Purge) -> Value {
    let Purge { target, soft, cache } = purge;
    let mut order = match target {
        Target { url: Some(url), .. } => json!({ "url": url }),
        Target {
            prefix: Some(prefix), ..
        } => json!({ "prefix": prefix }),
        Target { tag: Some(tag), .. } => json!({ "tag": tag }),
        Target { .. } => json!({ "all": true }),
    };
    order["soft"] = (*soft).into();
    if let Some(cache) = cache {
        order["cache"] = cache.as_str().into();
    }
    order
}

fn purged(reply: &Reply) {
    let told = reply.json();
    print(&format!("{} purged\n", told["purged"]));
    if told["lasting"] == false {
        print("warning: the disk or the Redis could not take it down: what is there may be back after a restart\n");
    }
}

fn listed(reply: &Reply) {
    for (name, held) in reply.json()["caches"].as_object().into_iter().flatten() {
        print(&format!(
            "{name}: {} answers, {} of {} bytes, {} evicted, {} being fetched\n",
            held["entries"], held["bytes"], held["size"], held["evicted"], held["fetching"]
        ));
        for (tier, behind) in held["tiers"].as_object().into_iter().flatten() {
            let held = match behind["entries"].is_null() {
                true => String::new(),
                false => format!(
                    "{} answers, {} of {} bytes, {} evicted, ",
                    behind["entries"], behind["bytes"], behind["size"], behind["evicted"]
                ),
            };
            print(&format!(
                "  {tier}: {held}{} given, {} written, {} damaged, {} failures\n",
                behind["given"], behind["written"], behind["damaged"], behind["failed"]
            ));
        }
    }
    let told = reply.json();
    if let sharing @ Value::Object(_) = &told["sharing"] {
        let heard = match sharing["up_to_date"] {
            Value::Bool(true) => "heard",
            _ => "NOT heard",
        };
        print(&format!(
            "purges of other gateways are {heard}; {} were so far, {} of ours are still to be told\n",
            sharing["generation"], sharing["untold"]
        ));
        if let Value::Bool(shared) = sharing["answers"] {
            print(if shared {
                "answers are shared\n"
            } else {
                "answers are NOT shared at the moment\n"
            });
        }
    }
}

fn explained(reply: &Reply) {
    let told = reply.json();
    for key in ["route", "cache", "key", "verdict"] {
        if let Some(text) = told[key].as_str() {
            print(&format!("{key}: {text}\n"));
        }
    }
    for answer in told["answers"].as_array().into_iter().flatten() {
        print(&format!("answer: {answer}\n"));
    }
}

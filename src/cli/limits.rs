//! `gateway limits`: what came of the rate limits of a gateway that runs, where a client stands, who is banned, and an end
//! to either.

use std::path::Path;

use clap::{Args, Subcommand, ValueEnum};
use http::Method;
use serde_json::Value;

use super::operator::{Reply, Which, run, segment};
use super::print;

#[derive(Debug, Args)]
pub(super) struct Options {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Subcommand)]
enum What {
    /// What came of every limit; of those with `mode = "report"` also what they would have refused, how often clients ask,
    /// and a rate that would suit them
    #[command(after_help = "Examples:\n  gateway limits report\n  \
        gateway limits report --format json | jq '.limits[] | {name, suggestion}'")]
    Report {
        /// For people or for programs
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Where one client stands with a limit
    #[command(after_help = "Examples:\n  gateway limits show api 192.0.2.1\n  \
        gateway limits show partners 192.0.2.1 k-1234    a key of client-ip and header:X-Key")]
    Show {
        /// The limit
        limit: String,
        /// What identifies the client: a value for each part of the limit's `key`, in the file's order. Of `jwt:CLAIM` it is
        /// `WAY:VALUE`, with the name of the way of `auth`; `client-ip=ADDRESS` means requests that lack the part
        #[arg(required = true)]
        key: Vec<String>,
        /// For people or for programs
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Let one client begin anew with a limit, at every gateway
    #[command(after_help = "Example:\n  gateway limits reset login 192.0.2.1")]
    Reset {
        /// The limit
        limit: String,
        /// What identifies the client, as for `show`
        #[arg(required = true)]
        key: Vec<String>,
    },
    /// Who is turned away because limits refused it again and again
    #[command(after_help = "Example:\n  gateway limits bans")]
    Bans {
        /// For people or for programs
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// End a ban
    #[command(after_help = "Examples:\n  gateway limits unban 192.0.2.1\n  gateway limits unban 2001:db8:1:2::/64")]
    Unban {
        /// The address, or the network that is banned
        client: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
}

impl Format {
    fn accept(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Json => "application/json",
        }
    }
}

/// Runs the command.
pub(super) fn execute(file: &Path, options: &Options) -> u8 {
    let ask = |method, path: &str, accept, good: &dyn Fn(&Reply)| {
        run(file, &options.which, method, path, accept, None, |reply| good(reply))
    };
    match &options.what {
        What::Report { format } => ask(Method::GET, "/api/v1/limits/report", format.accept(), &|reply| {
            print(&reply.text());
        }),
        What::Show { limit, key, format } => {
            let good = |reply: &Reply| match format {
                Format::Json => print(&reply.text()),
                Format::Text => print(&state(&reply.json())),
            };
            ask(Method::GET, &path_of(limit, key), "application/json", &good)
        }
        What::Reset { limit, key } => ask(Method::DELETE, &path_of(limit, key), "application/json", &|_| {
            print(&format!("{} begins anew with {limit}\n", key.join(" ")));
        }),
        What::Bans { format } => ask(Method::GET, "/api/v1/bans", "application/json", &|reply| match format {
            Format::Json => print(&reply.text()),
            Format::Text => print(&bans(&reply.json())),
        }),
        What::Unban { client } => {
            let path = format!("/api/v1/bans/{}", segment(client));
            ask(Method::DELETE, &path, "application/json", &|reply| {
                for client in reply.json()["lifted"].as_array().into_iter().flatten() {
                    print(&format!("{} is no longer banned\n", client.as_str().unwrap_or("-")));
                }
            })
        }
    }
}

fn path_of(limit: &str, key: &[String]) -> String {
    let key: Vec<String> = key.iter().map(|part| segment(part)).collect();
    format!("/api/v1/limits/{}/keys/{}", segment(limit), key.join("/"))
}

fn state(reply: &Value) -> String {
    let number = |name: &str| reply[name].as_f64().unwrap_or_default();
    let (left, capacity, full) = (number("left"), number("capacity"), number("full_in_seconds"));
    let mut out = format!("{left} of {capacity} left");
    if full > 0.0 {
        out.push_str(&format!(
            ", one more in {:.1} s, all in {full:.1} s",
            number("next_in_seconds")
        ));
    }
    out.push('\n');
    if let Some(why) = reply["redis_error"].as_str() {
        out.push_str(&format!(
            "This is what this gateway counts by itself, for Redis cannot be asked: {why}\n"
        ));
    }
    if number("leased_here") > 0.0 {
        out.push_str(&format!(
            "This gateway has {} of those that are taken on lease.\n",
            number("leased_here")
        ));
    }
    if number("refused_here_for_seconds") > 0.0 {
        let seconds = number("refused_here_for_seconds");
        out.push_str(&format!(
            "This gateway refuses it for {seconds:.1} s more without asking Redis.\n"
        ));
    }
    out
}

fn bans(reply: &Value) -> String {
    let bans = reply["bans"].as_array().map(Vec::as_slice).unwrap_or_default();
    if bans.is_empty() {
        return "Nobody is banned.\n".to_owned();
    }
    let line = |ban: &Value| {
        let text = |key: &str| ban[key].as_str().unwrap_or("-").to_owned();
        let left = ban["ends_in_seconds"].as_f64().unwrap_or_default();
        format!("{}  by {}, {left} s left\n", text("client"), text("policy"))
    };
    let mut out: String = bans.iter().map(line).collect();
    let count = reply["count"].as_u64().unwrap_or_default();
    let more = count.saturating_sub(bans.len() as u64);
    if more > 0 {
        out.push_str(&format!("and {more} more\n"));
    }
    out
}

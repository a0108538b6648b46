//! `gateway limits`: what came of the rate limits of a gateway that runs, who is banned, and an end to it.

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

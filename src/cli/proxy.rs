//! `gateway proxy --to`: serve without a file.

use std::net::SocketAddr;
use std::path::Path;

use clap::Args;

use super::{BAD_COMMAND, colour, run, say};
use crate::config;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where requests go, `host:port`; several times for several servers
    #[arg(long, value_name = "HOST:PORT", required = true)]
    to: Vec<String>,
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: Vec<SocketAddr>,
}

pub(super) fn run(options: &Options) -> u8 {
    let text = file(options);
    match config::parse("the command line", &text, Path::new("."), &|_| None) {
        Ok(loaded) => run::serve(loaded, None, |_| None),
        Err(report) => {
            say(&report.render_text(colour()));
            BAD_COMMAND
        }
    }
}

/// The same file that a person would write, so that there is one meaning.
fn file(options: &Options) -> String {
    let listen: Vec<String> = options.listen.iter().map(ToString::to_string).collect();
    format!(
        "[server]\nlisten = {}\n[admin]\nlisten = false\n[upstream.to]\nservers = {}\n\
         [[route]]\nname = \"all\"\npath = \"/*\"\nupstream = \"to\"\n",
        list(&listen),
        list(&options.to),
    )
}

fn list(items: &[String]) -> String {
    // A JSON string is a TOML basic string; `$$` keeps what a person typed from being read as a variable.
    let quoted: Vec<String> = items
        .iter()
        .map(|item| serde_json::Value::from(item.replace("${", "$${")).to_string())
        .collect();
    format!("[{}]", quoted.join(", "))
}

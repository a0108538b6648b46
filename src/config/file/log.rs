//! `[log]`

use tracing_subscriber::EnvFilter;

use super::rotate::Rotate;
use crate::config::shape::Kind;
use crate::config::suggest::clip;
use crate::config::table::table;
use crate::config::text::{Any, Fault, FromText, Written};
use crate::config::words::words;

table! {
    /// The gateway's own log: what it does, not what clients ask for (that is `[access_log]`).
    pub struct Log {
        /// How much is written: `error`, `warn`, `info`, `debug` or `trace`, also for one part of the gateway:
        /// `info,deals247_gateway::proxy=debug`.
        default level: Written<Level> = "\"info\"",
        /// What a line looks like.
        default format: LogFormat = "\"text\"",
        /// Where lines go: `-` is standard error, anything else a file that is appended to, relative to the directory of
        /// this file.
        default path: Written<Any> = "\"-\"",
        /// A file that gets the lines of level `error` as well.
        optional error_path: Written<Any> => "none",
        /// When these files begin anew, and what is kept of them. Without it they grow until somebody moves them away and
        /// sends SIGUSR1.
        optional rotate: Rotate => "they grow",
    }
}

words! {
    /// What a line of the log looks like.
    pub enum LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

/// A filter of `tracing`.
#[derive(Debug, Clone)]
pub(crate) struct Level;

impl FromText for Level {
    const KIND: Kind = Kind {
        what: "a level",
        pattern: None,
        example: "info",
        substituted: true,
    };

    fn from_text(text: &str) -> Result<Self, Fault> {
        const HELP: &str =
            "write `error`, `warn`, `info`, `debug` or `trace`; with parts: `info,deals247_gateway::proxy=debug`";
        let fault = || Fault::new(format!("`{}` is not a level", clip(text))).help(HELP);
        // The filter takes a single unknown word for the name of a part, and then logs nothing else.
        let first = text.split(',').next().unwrap_or_default().trim();
        let is_level =
            ["error", "warn", "info", "debug", "trace", "off"].contains(&first.to_ascii_lowercase().as_str());
        if !is_level && !first.contains('=') {
            return Err(fault());
        }
        EnvFilter::builder().parse(text).map(|_| Self).map_err(|_| fault())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels() {
        for text in [
            "info",
            "WARN",
            "info,deals247_gateway::proxy=debug",
            "hyper=warn,info",
            "off",
        ] {
            assert!(Level::from_text(text).is_ok(), "{text}");
        }
        for text in ["", "verbose", "info,x=loud", "x=[", "warning"] {
            assert!(Level::from_text(text).is_err(), "{text}");
        }
    }
}

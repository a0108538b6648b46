//! `gateway check`: every fault of the file at once.

use std::path::Path;

use clap::{Args, ValueEnum};

use super::{BAD_FILE, GOOD, colour, print, say};
use crate::config;

/// How faults are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people, in rustc's manner, on standard error
    Text,
    /// For programs, on standard output
    Json,
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Print the file with every default filled in, secrets masked
    #[arg(long)]
    print: bool,
    /// How faults are told
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Options {
    /// `-t` and `-T`.
    pub(super) fn nginx(print: bool) -> Self {
        Self {
            print,
            format: Format::Text,
        }
    }
}

pub(super) fn run(path: &Path, options: &Options) -> u8 {
    let (report, printed) = match config::load(path) {
        Ok(loaded) => {
            let printed = config::print(&loaded);
            (loaded.report, Some(printed))
        }
        Err(report) => (report, None),
    };
    if options.format == Format::Json {
        print(&format!("{:#}\n", report.render_json()));
    } else {
        if !report.is_empty() {
            say(&report.render_text(colour()));
        }
        if printed.is_some() && !options.print {
            say(&format!("{} is good{}", path.display(), warnings(report.warnings())));
        }
    }
    let Some(printed) = printed else { return BAD_FILE };
    if options.print && options.format == Format::Text {
        print(&printed);
    }
    GOOD
}

fn warnings(count: usize) -> String {
    match count {
        0 => String::new(),
        1 => ", with a warning".to_owned(),
        many => format!(", with {many} warnings"),
    }
}

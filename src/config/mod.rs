//! Text → typed file with spans → validated model. No sockets, no Pingora.
//!
//! [`load`] and [`parse`] report everything that is wrong at once; with a fault there is no model. The tables and keys
//! are declared in `file/`, one element a file: type, default and doc comment make the reader, the reference
//! ([`reference`]) and the schema for editors ([`schema`]).

mod diagnostic;
mod file;
mod keys;
mod list;
pub mod model;
mod named;
mod plain_file;
mod plan;
mod print;
mod quantity;
mod reader;
mod reference;
mod render;
mod schema;
mod secret;
mod servers_file;
mod shape;
mod substitute;
mod suggest;
mod syntax;
mod table;
mod text;
pub mod units;
mod validate;
mod value;
mod words;

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

pub use self::diagnostic::Report;
pub use self::model::Config;
pub use self::plan::{Outline, Plan};
pub use self::reference::reference;
pub use self::schema::schema;
pub use self::servers_file::servers_file;

/// The largest file.
const MAX_SIZE: usize = 4 * 1024 * 1024;

/// A file without faults.
pub struct Loaded {
    /// What the file means.
    pub config: Config,
    /// Warnings only.
    pub report: Report,
    /// The file as it was read; it may hold secrets.
    pub text: Arc<str>,
    file: file::File,
    /// What tells, within this process, whether the secrets of two files are the same.
    secrets: u64,
}

impl std::fmt::Debug for Loaded {
    /// Without the text: it may hold secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loaded")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

/// Reads and checks a file, with the environment of the process. Relative paths in it are relative to its directory.
///
/// # Errors
/// Everything that is wrong with the file, or why it cannot be read.
pub fn load(path: &Path) -> Result<Loaded, Report> {
    let name = path.display().to_string();
    let text = read(path).map_err(|(message, help)| Report::of_file(&name, message, help))?;
    load_text(path, &text)
}

/// Checks a text that stands for a file: one that the file had before, for example.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn load_text(path: &Path, text: &str) -> Result<Loaded, Report> {
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    parse(&path.display().to_string(), text, dir, &|name| std::env::var(name).ok())
}

/// Checks a text. `name`: what messages call it; `dir`: what relative paths in it are relative to; `env`: the value of an
/// environment variable.
///
/// # Errors
/// Everything that is wrong with the text.
pub fn parse(name: &str, text: &str, dir: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, Report> {
    if text.len() > MAX_SIZE {
        let (message, help) = too_large();
        return Err(Report::of_file(name, message, help));
    }
    // Some editors begin a file with a byte order mark. Spans count from behind it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let (document, errors) = toml::de::DeTable::parse_recoverable(text);
    let mut reader = reader::Reader::new(name, text, dir, env);
    let start = diagnostic::Span::default();
    let keys = keys::Keys::open::<file::File>(document.get_ref(), start, &mut reader);
    let file = <file::File as table::Table>::take(&keys, &mut reader);
    let (secrets, credential_files) = (reader.secrets, reader.credential_files);
    let mut report = reader.report;

    let mut syntax = Report::new(name, text);
    let reliable = syntax::report(text, &errors, &mut syntax);
    if let Some(reliable) = reliable {
        report.keep_before(reliable);
    }
    syntax
        .diagnostics
        .into_iter()
        .for_each(|diagnostic| report.push(diagnostic));
    let config = if reliable.is_none() {
        validate::validate(&file, dir, &mut report)
    } else {
        None
    };
    report.sort();
    match config {
        Some(config) if report.errors() == 0 => Ok(Loaded {
            config: Config {
                credential_files,
                ..config
            },
            report,
            text: text.into(),
            file,
            secrets,
        }),
        _ => Err(report),
    }
}

/// What is wrong with a level of the log, if anything.
///
/// # Errors
/// The cure.
pub fn check_log_level(text: &str) -> Result<(), String> {
    let checked = <file::log::Level as text::FromText>::from_text(text);
    checked.map(drop).map_err(|fault| match fault.help {
        Some(help) => format!("{}: {help}", fault.message),
        None => fault.message,
    })
}

/// The file with every default filled in: valid TOML that means the same, with secrets masked.
#[must_use]
pub fn print(loaded: &Loaded) -> String {
    print::print(&loaded.file)
}

/// The text of a file, or what is wrong with it and the cure.
fn read(path: &Path) -> Result<String, (String, String)> {
    use std::io::ErrorKind;

    let unreadable = |error: std::io::Error| {
        let help = match error.kind() {
            ErrorKind::NotFound => "name the file with `-c PATH`; `gateway demo` runs without one",
            ErrorKind::PermissionDenied => "let the user that runs the gateway read it",
            ErrorKind::IsADirectory => "name the file in it",
            _ => "name another file with `-c PATH`",
        };
        let message = match error.kind() {
            ErrorKind::NotFound => "there is no such file".to_owned(),
            _ => format!("the file cannot be read: {error}"),
        };
        (message, help.to_owned())
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_SIZE as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() > MAX_SIZE {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
        (
            format!("the file is not UTF-8: byte {at}, in line {line}, begins no character"),
            "save the file as UTF-8".to_owned(),
        )
    })
}

fn too_large() -> (String, String) {
    (
        "the file is larger than 4 MiB".to_owned(),
        "routes with the same action can share one: `path` takes a list".to_owned(),
    )
}

//! The gateway's own log, on standard error or in files: what an operator must know, not what each request did.

mod files;

use std::env;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::files::Files;
use crate::config::model::Log;

/// Overrides the level of the file, e.g. `GATEWAY_LOG=debug`.
const VARIABLE: &str = "GATEWAY_LOG";

/// What is heard where neither the variable nor the file can be read.
const FALLBACK: &str = "info";

/// Pingora writes a line for every request that a client breaks off and for every upstream that refuses: whoever wants
/// to fill the disk needs nothing else. The access log and the metrics tell the same, bounded. What is left is what
/// Pingora says about itself at `error`; its chatter at the start is not for people either. A filter that names Pingora
/// is taken as it is, e.g. `GATEWAY_LOG=info,pingora_proxy=debug`.
const QUIET: &str = "pingora=error,pingora_proxy=off,pingora_core::apps=off";

/// Starts the log. The environment variable `GATEWAY_LOG` overrides its level. Events of the `log` crate, which Pingora
/// writes to, arrive here too. A second call changes nothing.
///
/// # Errors
/// A file of the log cannot be opened.
pub fn init(log: &Log) -> io::Result<()> {
    let files = Files::open(log.file.as_ref(), log.errors.as_ref())?;
    let asked = env::var(VARIABLE).ok();
    let (filter, complaint) = choose(asked.as_deref(), &log.level);
    let ansi = !files.are_there() && io::stderr().is_terminal();
    let (subscriber, change) = subscriber(filter, log.json, ansi, files.clone());
    // Only the first call may speak: a later one changed nothing.
    if subscriber.try_init().is_err() {
        return Ok(());
    }
    let _ = FILES.set(files);
    let _ = CHANGE.set(change);
    log.level.clone_into(&mut LEVELS.lock().file);
    if let Some(complaint) = complaint {
        tracing::warn!("{complaint}");
    }
    Ok(())
}

/// Opens the log's files again under their names.
pub fn reopen() {
    if let Some(files) = FILES.get() {
        files.reopen();
    }
}

static FILES: OnceLock<Files> = OnceLock::new();

/// Puts another filter in the place of the one in force.
type Change = Box<dyn Fn(EnvFilter) -> bool + Send + Sync>;

static CHANGE: OnceLock<Change> = OnceLock::new();

static LEVELS: Mutex<Levels> = Mutex::new(Levels {
    file: String::new(),
    operator: None,
});

/// Who says how much is written: the operator, else the variable, else the file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Levels {
    file: String,
    operator: Option<String>,
}

/// What is written now, and who says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Level {
    /// The filter.
    pub level: String,
    /// `the operator`, `GATEWAY_LOG` or `the file`.
    pub by: &'static str,
}

/// How much is written now.
#[must_use]
pub fn level() -> Level {
    in_force(&LEVELS.lock(), env::var(VARIABLE).ok().as_deref())
}

fn in_force(levels: &Levels, variable: Option<&str>) -> Level {
    let variable = variable.filter(|text| !text.trim().is_empty());
    let (level, by) = match (&levels.operator, variable) {
        (Some(level), _) => (level.as_str(), "the operator"),
        (None, Some(level)) => (level, VARIABLE),
        (None, None) => (levels.file.as_str(), "the file"),
    };
    Level {
        level: level.to_owned(),
        by,
    }
}

/// The file says something else now.
pub fn follow(file: &str) {
    file.clone_into(&mut LEVELS.lock().file);
    apply();
}

/// The operator wants this, a filter that can be read; `None`: what the variable or the file says again. Holds until the
/// process ends. Returns what is written now; `None`: this process does not write the log.
pub fn set(level: Option<&str>) -> Option<Level> {
    LEVELS.lock().operator = level.map(str::to_owned);
    apply().then(self::level)
}

fn apply() -> bool {
    let Some(change) = CHANGE.get() else { return false };
    let (filter, _) = choose(None, &level().level);
    change(filter)
}

/// The first of the variable, the file and the fallback that can be read, and what is wrong with the one before.
fn choose(variable: Option<&str>, file: &str) -> (EnvFilter, Option<String>) {
    let mut complaint = None;
    let asked = variable
        .map(|text| (VARIABLE, text))
        .into_iter()
        .chain([("log.level", file)]);
    for (name, text) in asked.filter(|(_, text)| !text.trim().is_empty()) {
        match EnvFilter::try_new(with_quiet(text)) {
            Ok(filter) => return (filter, complaint),
            Err(error) => complaint = Some(format!("{name} = {text:?} cannot be read: {error}")),
        }
    }
    (EnvFilter::new(with_quiet(FALLBACK)), complaint)
}

fn with_quiet(filter: &str) -> String {
    if filter.contains("pingora") || filter.trim().eq_ignore_ascii_case("off") {
        filter.to_owned()
    } else {
        format!("{filter},{QUIET}")
    }
}

fn subscriber<W>(filter: EnvFilter, json: bool, ansi: bool, writer: W) -> (Box<dyn Subscriber + Send + Sync>, Change)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_ansi(ansi)
        // It would complain to standard error, and panic where that is what is broken.
        .log_internal_errors(false);
    if json {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        let change = move |filter| handle.reload(filter).is_ok();
        (Box::new(builder.finish()), Box::new(change))
    } else {
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        let change = move |filter| handle.reload(filter).is_ok();
        (Box::new(builder.finish()), Box::new(change))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is heard of the same events.
    fn heard(variable: Option<&str>, file: &str, json: bool) -> String {
        let memory = Memory::default();
        let writer = memory.clone();
        let (filter, _) = choose(variable, file);
        tracing::subscriber::with_default(subscriber(filter, json, false, move || writer.clone()).0, || {
            tracing::error!(target: "deals247_gateway::proxy", code = 7, "our-error");
            tracing::info!(target: "deals247_gateway::proxy", "our-info");
            tracing::debug!(target: "deals247_gateway::proxy", "our-debug");
            tracing::error!(target: "pingora_proxy", "fail-to-proxy");
            tracing::error!(target: "pingora_core::apps::http_app", "fail-to-read");
            tracing::error!(target: "pingora_core::services::listening", "accept-failed");
            tracing::info!(target: "pingora_core::server", "bootstrap");
        });
        let bytes = memory.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_heard() {
        let all = [
            "our-error",
            "our-info",
            "our-debug",
            "fail-to-proxy",
            "fail-to-read",
            "accept-failed",
            "bootstrap",
        ];
        for (variable, file, expected) in [
            (None, "info", &["our-error", "our-info", "accept-failed"][..]),
            (None, "error", &["our-error", "accept-failed"]),
            (None, "debug", &["our-error", "our-info", "our-debug", "accept-failed"]),
            (None, "off", &[]),
            (Some("error"), "debug", &["our-error", "accept-failed"]),
            (Some(""), "error", &["our-error", "accept-failed"]),
            (
                Some("warn,pingora_proxy=error"),
                "info",
                &["our-error", "fail-to-proxy", "fail-to-read", "accept-failed"],
            ),
            (None, "no=such=filter", &["our-error", "our-info", "accept-failed"]),
            (None, "", &["our-error", "our-info", "accept-failed"]),
        ] {
            let lines = heard(variable, file, false);
            let heard: Vec<&str> = all.into_iter().filter(|event| lines.contains(event)).collect();
            assert_eq!(heard, expected, "{variable:?} {file:?}");
        }
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_complained_about() {
        assert_eq!(choose(Some("info"), "a=b=c").1, None);
        assert_eq!(choose(None, "debug").1, None);
        let complaint = choose(Some("a=b=c"), "info").1.unwrap();
        assert!(complaint.starts_with("GATEWAY_LOG = \"a=b=c\""), "{complaint}");
        let complaint = choose(None, "a=b=c").1.unwrap();
        assert!(complaint.starts_with("log.level"), "{complaint}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let lines = heard(None, "info", true);
        let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
        assert_eq!(first["message"], "our-error");
        assert_eq!(first["level"], "ERROR");
        assert_eq!(first["code"], 7);
    }

    #[test]
    fn the_operator_comes_before_the_variable_and_the_variable_before_the_file() {
        let levels = |operator: Option<&str>| Levels {
            file: "warn".to_owned(),
            operator: operator.map(str::to_owned),
        };
        for (operator, variable, level, by) in [
            (None, None, "warn", "the file"),
            (None, Some(" "), "warn", "the file"),
            (None, Some("info"), "info", "GATEWAY_LOG"),
            (Some("debug"), Some("info"), "debug", "the operator"),
        ] {
            let expected = Level {
                level: level.to_owned(),
                by,
            };
            assert_eq!(in_force(&levels(operator), variable), expected);
        }
    }

    #[test]
    fn what_is_written_changes_while_it_runs() {
        let memory = Memory::default();
        let writer = memory.clone();
        let (subscriber, change) = subscriber(EnvFilter::new("warn"), false, false, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("before");
            assert!(change(EnvFilter::new("info")));
            tracing::info!("meanwhile");
            assert!(change(EnvFilter::new("error")));
            tracing::info!("after");
        });
        let text = String::from_utf8(memory.0.lock().clone()).unwrap();
        assert!(
            text.contains("meanwhile") && !text.contains("before") && !text.contains("after"),
            "{text}"
        );
    }

    #[test]
    fn a_second_start_changes_nothing() {
        let log = Log {
            level: "off".to_owned(),
            ..Log::default()
        };
        init(&log).unwrap();
        init(&Log { json: true, ..log }).unwrap();
    }
}

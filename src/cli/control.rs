//! `gateway reload`, `upgrade`, `rollback`, `confirm`, `history`, and nginx's `-s`: what a gateway that runs is told as a whole.

use std::path::Path;

use clap::{Args, ValueEnum};
use http::{Method, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::operator::{Operator, Reply, Which};
use super::{BAD_COMMAND, BAD_ENVIRONMENT, BAD_FILE, GOOD, colour, print, say};
use crate::config::{self, Report};
use crate::run_dir::Running;

#[derive(Debug, Args)]
pub(super) struct ReloadOptions {
    /// Only say what would change
    #[arg(long)]
    plan: bool,
    /// Go back unless `gateway confirm` comes within this time, `5min`
    #[arg(long, value_name = "TIME", conflicts_with = "plan")]
    confirm: Option<String>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct RollbackOptions {
    /// The number of the configuration, as `gateway history` has it; without it the one before
    to: Option<u64>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
pub(super) struct Common {
    /// For programs
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    which: Which,
}

/// What nginx calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum NginxSignal {
    /// Apply the file
    Reload,
    /// Stop when the last request has finished
    Quit,
    /// Stop within [server] shutdown_timeout
    Stop,
    /// Open log files anew
    Reopen,
    /// Let the new binary take over
    Upgrade,
}

/// `gateway reload`
pub(super) fn reload(file: &Path, options: &ReloadOptions) -> u8 {
    let mut order = json!({ "plan": options.plan });
    if let Some(confirm) = &options.confirm {
        order["confirm"] = json!(confirm);
    }
    // What is wrong is shown with its lines here, where the file is at hand; whether it is, the gateway decides: its
    // environment is another one.
    let checked = config::load(file);
    let operator = match operator(file, &options.common, &checked) {
        Ok(operator) => operator,
        Err(code) => return code,
    };
    match operator.ask(Method::POST, "/api/v1/reload", options.common.accept(), Some(&order)) {
        Ok(reply) if reply.status == StatusCode::UNPROCESSABLE_ENTITY && !options.common.json => {
            match &checked {
                Err(report) => say(&report.render_text(colour())),
                Ok(_) => say(detail(&reply.json())),
            }
            say("the gateway runs on as before");
            BAD_FILE
        }
        Ok(reply) => tell(&reply, &options.common),
        Err(code) => code,
    }
}

/// `gateway rollback`
pub(super) fn rollback(file: &Path, options: &RollbackOptions) -> u8 {
    let order = options.to.map_or_else(|| json!({}), |to| json!({ "to": to }));
    simple(file, &options.common, Method::POST, "rollback", Some(&order))
}

/// `gateway upgrade`
pub(super) fn upgrade(file: &Path, options: &Common) -> u8 {
    simple(file, options, Method::POST, "upgrade", Some(&json!({})))
}

/// `gateway confirm`
pub(super) fn confirm(file: &Path, options: &Common) -> u8 {
    simple(file, options, Method::POST, "confirm", Some(&json!({})))
}

/// `gateway history`
pub(super) fn history(file: &Path, options: &Common) -> u8 {
    simple(file, options, Method::GET, "history", None)
}

/// `gateway -s SIGNAL`
pub(super) fn signal(file: &Path, signal: NginxSignal, which: Which) -> u8 {
    let named = which.is_given();
    let common = Common { json: false, which };
    let signal = match signal {
        NginxSignal::Reload => {
            return reload(
                file,
                &ReloadOptions {
                    plan: false,
                    confirm: None,
                    common,
                },
            );
        }
        NginxSignal::Upgrade => return upgrade(file, &common),
        NginxSignal::Quit => Signal::QUIT,
        NginxSignal::Stop => Signal::TERM,
        NginxSignal::Reopen => Signal::USR1,
    };
    if named {
        say("error: this signal goes to the process that serves the file: no admin listener is asked");
        return BAD_COMMAND;
    }
    match Running::find(file) {
        Some(running) => send(&running, signal),
        None => {
            say(&format!("error: no gateway serves {}", file.display()));
            BAD_ENVIRONMENT
        }
    }
}

fn simple(file: &Path, options: &Common, method: Method, order: &str, body: Option<&Value>) -> u8 {
    let asked = operator(file, options, &config::load(file))
        .and_then(|operator| operator.ask(method, &format!("/api/v1/{order}"), options.accept(), body));
    match asked {
        Ok(reply) => tell(&reply, options),
        Err(code) => code,
    }
}

/// Whom to ask: the process that serves the file says where it is, whatever has become of the file since.
fn operator(file: &Path, options: &Common, checked: &Result<config::Loaded, Report>) -> Result<Operator, u8> {
    if options.which.is_address() {
        return Operator::find(&options.which, file);
    }
    let token = checked.as_ref().ok().and_then(|loaded| {
        let token = loaded.config.admin.token.as_ref();
        token.map(|token| token.expose().to_owned())
    });
    let running = Running::find(file);
    match (&running, checked) {
        (
            Some(Running {
                admin: Some(admin),
                admin_certificate,
                ..
            }),
            _,
        ) => Operator::at(admin.clone(), admin_certificate.as_deref(), token, &options.which),
        (Some(running), _) => {
            let pid = running.pid;
            say(&format!(
                "error: the gateway that serves {} (process {pid}) has no admin listener\nhelp: `kill -HUP {pid}` \
                 reloads it, its log says how that went; `[admin] listen` lets it be asked",
                file.display()
            ));
            Err(BAD_ENVIRONMENT)
        }
        (None, Ok(_)) => Operator::find(&options.which, file),
        (None, Err(report)) => {
            say(&report.render_text(colour()));
            Err(BAD_FILE)
        }
    }
}

impl Common {
    fn accept(&self) -> &'static str {
        if self.json { "application/json" } else { "text/plain" }
    }
}

fn tell(reply: &Reply, options: &Common) -> u8 {
    let code = match reply.status {
        StatusCode::OK => GOOD,
        StatusCode::UNPROCESSABLE_ENTITY => BAD_FILE,
        StatusCode::BAD_REQUEST | StatusCode::CONFLICT => BAD_COMMAND,
        _ => BAD_ENVIRONMENT,
    };
    if code == GOOD || options.json {
        print(&reply.text());
    } else {
        let detail = reply.json();
        let detail = self::detail(&detail);
        let prefix = if detail.starts_with("error") { "" } else { "error: " };
        say(&format!("{prefix}{detail}"));
    }
    code
}

fn detail(problem: &Value) -> &str {
    problem["detail"].as_str().unwrap_or("the gateway refused")
}

fn send(running: &Running, signal: Signal) -> u8 {
    let pid = i32::try_from(running.pid).ok().and_then(Pid::from_raw);
    let sent = pid.map(|pid| kill_process(pid, signal));
    match sent {
        Some(Ok(())) => GOOD,
        Some(Err(error)) => {
            say(&format!("error: process {} cannot be signalled: {error}", running.pid));
            BAD_ENVIRONMENT
        }
        None => BAD_ENVIRONMENT,
    }
}

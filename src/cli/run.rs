//! `gateway run`: serve until told to stop.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use super::takeover::Takeover;
use super::{BAD_ENVIRONMENT, BAD_FILE, CUT, GOOD, colour, say};
use crate::config::model::AdminListen;
use crate::config::{self, Loaded, Outline};
use crate::control::Control;
use crate::gateway::{Drained, Gateway};
use crate::observe;
use crate::runtime::Registry;
use crate::service;

pub(super) fn run(path: &Path) -> u8 {
    let takeover = Takeover::begin();
    match config::load(path) {
        Ok(loaded) => {
            if !loaded.report.is_empty() {
                say(&loaded.report.render_text(colour()));
            }
            serve_after(takeover, loaded, Some(path), |_| None)
        }
        Err(report) => {
            say(&report.render_text(colour()));
            takeover.stays(&report.render_brief());
            BAD_FILE
        }
    }
}

/// Serves a configuration; `path`: the file that it came from and that is read again for a reload; `hint` is shown once
/// the gateway is up.
pub(super) fn serve(loaded: Loaded, path: Option<&Path>, hint: impl FnOnce(&Gateway) -> Option<String>) -> u8 {
    serve_after(Takeover::begin(), loaded, path, hint)
}

fn serve_after(
    takeover: Takeover,
    loaded: Loaded,
    path: Option<&Path>,
    hint: impl FnOnce(&Gateway) -> Option<String>,
) -> u8 {
    let config = &loaded.config;
    if let Err(error) = observe::log::init(&config.log) {
        let why = format!("cannot write the log: {error}");
        say(&format!("error: {why}"));
        takeover.stays(&why);
        return BAD_ENVIRONMENT;
    }
    let threads = config.server.threads;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(serve_until_stopped(takeover, loaded, path, hint));
            // What has not finished by now was given its time.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            let why = format!("cannot start {threads} worker threads: {error}");
            say(&format!("error: {why}"));
            takeover.stays(&why);
            BAD_ENVIRONMENT
        }
    }
}

async fn serve_until_stopped(
    takeover: Takeover,
    loaded: Loaded,
    path: Option<&Path>,
    hint: impl FnOnce(&Gateway) -> Option<String>,
) -> u8 {
    // Before anything is served: a signal that comes early must not kill what has begun.
    let mut signals = match Signals::new() {
        Ok(signals) => signals,
        Err(error) => {
            let why = format!("cannot listen to signals: {error}");
            say(&format!("error: {why}"));
            takeover.stays(&why);
            return BAD_ENVIRONMENT;
        }
    };
    let started_with = (Outline::of(&loaded), Arc::clone(&loaded.text));
    let config = loaded.config;
    let (routes, upstreams) = (config.routes.len(), config.upstreams.len());
    let registry = Registry::new();
    count_panics(&registry);
    let (takeover, inherited, kept) = match takeover.take() {
        Ok(taken) => taken,
        Err(why) => {
            say(&format!("error: {why}"));
            return BAD_ENVIRONMENT;
        }
    };
    let started = tokio::select! {
        started = Gateway::start_with(config, registry, inherited, &kept) => started,
        _ = signals.stop() => return GOOD,
    };
    let gateway = match started {
        Ok(gateway) => Arc::new(gateway),
        Err(error) => {
            say(&format!("error: {error}"));
            takeover.stays(&error.to_string());
            return BAD_ENVIRONMENT;
        }
    };
    let control = Control::new(Arc::clone(&gateway), path, started_with);
    control.take_orders();
    control.note_failures();
    control.watch();
    control.publish();
    takeover.done();
    service::ready();
    service::keep_watchdog_quiet();
    // Last: who reads it may ask at once.
    say(&banner(&gateway, routes, upstreams));
    if let Some(hint) = hint(&gateway) {
        say(&hint);
    }
    let hangup = reload_on_request(&control);
    let server = || Arc::clone(&gateway.live.peek().server);
    let (deadline, notice) = loop {
        let asked = tokio::select! {
            asked = signals.next() => asked,
            () = control.replaced() => {
                control.withdraw();
                // Told to stop after all: as if nobody had taken over, but without notice.
                let retired = tokio::select! {
                    drained = gateway.retire(server().upgrade_timeout) => Some(drained),
                    _ = signals.stop() => None,
                };
                match retired {
                    Some(drained) => return told(drained),
                    None => break (Some(server().shutdown_timeout), Duration::ZERO),
                }
            }
        };
        match asked {
            Asked::Stop => break (Some(server().shutdown_timeout), server().pre_stop),
            Asked::StopNow => break (Some(server().shutdown_timeout), Duration::ZERO),
            Asked::StopWhenEmpty => break (None, server().pre_stop),
            Asked::Reload => hangup.notify_one(),
            Asked::Upgrade => {
                let control = Arc::clone(&control);
                // How it went is told in the log.
                tokio::spawn(async move { control.upgrade("SIGUSR2").await.map(drop) });
            }
            Asked::ReopenLogs => {
                observe::log::reopen();
                gateway.live.registry.reopen_logs();
            }
        }
    };
    control.withdraw();
    service::stopping(deadline.map(|deadline| notice + deadline));
    let stop = async {
        // First those are told who send requests here; they are served as before until they have looked elsewhere.
        gateway.live.registry.drain();
        if !notice.is_zero() {
            tracing::info!("stopping in {notice:?}: /readyz says so already");
            tokio::time::sleep(notice).await;
        }
        tracing::info!("stopping: no new connections, requests in flight finish");
        gateway.drain(deadline).await
    };
    let drained = tokio::select! {
        drained = stop => drained,
        _ = signals.stop() => match gateway.open_connections() {
            0 => Drained::Empty,
            open => Drained::Cut(open),
        },
    };
    told(drained)
}

fn told(drained: Drained) -> u8 {
    if let Drained::Cut(connections) = drained {
        tracing::warn!(connections, "stopped before every request had finished");
        return CUT;
    }
    GOOD
}

/// Reloads each time that it is notified. Signals that come while a reload runs are one: the file is read after it.
fn reload_on_request(control: &Arc<Control>) -> Arc<Notify> {
    let asked = Arc::new(Notify::new());
    let (control, wanted) = (Arc::clone(control), Arc::clone(&asked));
    tokio::spawn(async move {
        loop {
            wanted.notified().await;
            // How it went is told where operators look.
            let _ = control.reload("SIGHUP", None).await;
        }
    });
    asked
}

fn banner(gateway: &Gateway, routes: usize, upstreams: usize) -> String {
    let on: Vec<String> = gateway
        .addresses()
        .iter()
        .map(|address| format!("http://{address}"))
        .collect();
    let tls = gateway.tls_addresses();
    let tls = tls.iter().map(|address| format!("https://{address}"));
    let on: Vec<String> = on.into_iter().chain(tls).collect();
    let scheme = match gateway.live.peek().admin_tls {
        Some(_) => "https",
        None => "http",
    };
    let admin = gateway.admin().map_or_else(
        || "off".to_owned(),
        |listen| match listen {
            AdminListen::Tcp(address) => format!("{scheme}://{address}"),
            AdminListen::Unix(_) => listen.to_string(),
        },
    );
    let count = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!(
        "gateway {} serves on {} ({}, {}); admin on {admin}",
        env!("CARGO_PKG_VERSION"),
        on.join(", "),
        count(routes, "route"),
        count(upstreams, "upstream"),
    )
}

/// A panic costs one request; it is counted and told, so that nobody learns of it from a user.
fn count_panics(registry: &Arc<Registry>) {
    let metrics = Arc::clone(&registry.metrics);
    std::panic::set_hook(Box::new(move |panic| {
        metrics.panicked();
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let text = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, text, "a task panicked: please report this");
    }));
}

/// What a signal asks for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    /// To stop within the shutdown timeout, with notice.
    Stop,
    /// The same at a terminal, where nobody balances: at once.
    StopNow,
    /// As nginx means SIGQUIT: to stop when the last request has finished.
    StopWhenEmpty,
    Reload,
    ReopenLogs,
    /// As nginx means SIGUSR2: another process of the new binary goes on.
    Upgrade,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user1: Signal,
    user2: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop,
            _ = self.interrupt.recv() => Asked::StopNow,
            _ = self.quit.recv() => Asked::StopWhenEmpty,
            _ = self.hangup.recv() => Asked::Reload,
            _ = self.user1.recv() => Asked::ReopenLogs,
            _ = self.user2.recv() => Asked::Upgrade,
        }
    }
}

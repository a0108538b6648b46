//! `gateway demo`: the stand-in application, the gateway before it, and what to try.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use clap::Args;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{BAD_ENVIRONMENT, GOOD, run, say};
use crate::config;
use crate::demo;
use crate::demo::Server;

/// API replicas that the demo starts.
const REPLICAS: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080", conflicts_with_all = ["api", "web"])]
    listen: SocketAddr,
    /// Where the admin listener is
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9900", conflicts_with_all = ["api", "web"])]
    admin: SocketAddr,
    /// Only the stand-in, without a gateway: replicas of its API here, over one database
    #[arg(long, value_name = "ADDRESS:PORT", value_delimiter = ',')]
    api: Vec<SocketAddr>,
    /// Only the stand-in, without a gateway: its frontend here
    #[arg(long, value_name = "ADDRESS:PORT")]
    web: Option<SocketAddr>,
    /// The stand-in takes the time that the application takes
    #[arg(long)]
    latency: bool,
}

/// What stands in for the application.
struct StandIn {
    api: Vec<Server>,
    web: Option<Server>,
}

pub(super) fn run(options: &Options) -> u8 {
    // The stand-ins have a runtime of their own: they are another process in life.
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    if !options.api.is_empty() || options.web.is_some() {
        return runtime.block_on(alone(options));
    }
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let stand_in = match runtime.block_on(stand_in(&[free; REPLICAS], Some(free), options.latency)) {
        Ok(stand_in) => stand_in,
        Err(error) => return failed(&error),
    };
    let api: Vec<SocketAddr> = stand_in.api.iter().map(Server::address).collect();
    let Some(web) = stand_in.web.as_ref().map(Server::address) else {
        return BAD_ENVIRONMENT;
    };
    let text = demo::config(&api, web, options.listen, options.admin);
    match config::parse("demo.toml", &text, Path::new("."), &|_| None) {
        Ok(loaded) => run::serve(loaded, None, |gateway| {
            Some(demo::tour(
                &api,
                web,
                gateway.addresses().first().copied()?,
                gateway.admin_address()?,
            ))
        }),
        Err(report) => {
            say(&report.render_text(false));
            BAD_ENVIRONMENT
        }
    }
}

/// Serves the application alone until told to stop: another proxy stands before it, or a gateway in another container.
async fn alone(options: &Options) -> u8 {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        say("error: cannot listen to signals");
        return BAD_ENVIRONMENT;
    };
    let stand_in = match stand_in(&options.api, options.web, options.latency).await {
        Ok(stand_in) => stand_in,
        Err(error) => return failed(&error),
    };
    for (number, server) in (1..).zip(&stand_in.api) {
        say(&format!("replica-{number} serves on http://{}", server.address()));
    }
    if let Some(web) = &stand_in.web {
        say(&format!("frontend serves on http://{}", web.address()));
    }
    say(&format!("uids: {} (user), {} (admin)", demo::USER, demo::ADMIN));
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    GOOD
}

/// The application: its replicas share their data, as they share a database in life.
async fn stand_in(api: &[SocketAddr], web: Option<SocketAddr>, latency: bool) -> io::Result<StandIn> {
    let options = demo::app::Options {
        latency,
        ..demo::app::Options::default()
    };
    let mut replicas = Vec::new();
    for (number, address) in (1..).zip(api) {
        let listener = TcpListener::bind(address).await?;
        replicas.push(demo::app::spawn(
            format!("replica-{number}"),
            listener,
            options.clone(),
        )?);
    }
    let web = match web {
        Some(address) => Some(demo::frontend::spawn(TcpListener::bind(address).await?)?),
        None => None,
    };
    Ok(StandIn { api: replicas, web })
}

fn failed(error: &io::Error) -> u8 {
    say(&format!("error: cannot start the stand-in application: {error}"));
    BAD_ENVIRONMENT
}

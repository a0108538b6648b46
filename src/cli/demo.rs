//! `gateway demo`: the stand-in application, the gateway before it, and what to try.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use tokio::net::TcpListener;

use super::{BAD_ENVIRONMENT, run, say};
use crate::config;
use crate::demo;
use crate::demo::Server;

/// API replicas that the demo starts.
const REPLICAS: usize = 3;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Where clients connect
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where the admin listener is
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
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
    let (replicas, frontend) = match runtime.block_on(stand_in()) {
        Ok(servers) => servers,
        Err(error) => return failed(&error),
    };
    let api: Vec<SocketAddr> = replicas.iter().map(Server::address).collect();
    let web = frontend.address();
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

/// The application on free ports: its replicas share their data, as they share a database in life.
async fn stand_in() -> io::Result<(Vec<Server>, Server)> {
    let options = demo::app::Options::default();
    let mut replicas = Vec::new();
    for replica in 1..=REPLICAS {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        replicas.push(demo::app::spawn(
            format!("replica-{replica}"),
            listener,
            options.clone(),
        )?);
    }
    let frontend = demo::frontend::spawn(TcpListener::bind("127.0.0.1:0").await?)?;
    Ok((replicas, frontend))
}

fn failed(error: &io::Error) -> u8 {
    say(&format!("error: cannot start the stand-in application: {error}"));
    BAD_ENVIRONMENT
}

//! The stand-in for Deals247 on its own, to put any proxy before it:
//! `cargo run --example deals247_app -- --api 5000,5001,5002 --web 3000 [--latency]`.

use std::error::Error;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use clap::Parser;
use deals247_gateway::demo::{ADMIN, USER, app, frontend};
use tokio::net::TcpListener;

/// The stand-in for Deals247: API replicas over one database, and the frontend.
#[derive(Debug, Parser)]
struct Options {
    /// Ports of the API replicas on 127.0.0.1; 0 is any free port.
    #[arg(long, value_delimiter = ',', default_value = "5000,5001,5002")]
    api: Vec<u16>,
    /// Port of the frontend on 127.0.0.1; 0 is any free port.
    #[arg(long, default_value_t = 3000)]
    web: u16,
    /// Take the time that the application takes.
    #[arg(long)]
    latency: bool,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::parse();
    let shared = app::Options {
        latency: options.latency,
        ..app::Options::default()
    };
    let mut text = String::new();
    let mut servers = Vec::new();
    for (number, port) in (1..).zip(&options.api) {
        let server = app::spawn(format!("api-{number}"), listen(*port).await?, shared.clone())?;
        text += &format!("api-{number} http://{}\n", server.address());
        servers.push(server);
    }
    let server = frontend::spawn(listen(options.web).await?)?;
    text += &format!("web   http://{}\n", server.address());
    text += &format!("uids  {USER} (user), {ADMIN} (admin)\n");
    servers.push(server);
    std::io::stdout().write_all(text.as_bytes())?;
    tokio::signal::ctrl_c().await?;
    Ok(())
}

async fn listen(port: u16) -> std::io::Result<TcpListener> {
    TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await
}
